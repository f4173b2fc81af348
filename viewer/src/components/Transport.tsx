import { formatCount, formatTime, timeDecimals } from "../lib/format";
import type { TimelineModel } from "../model/timelineModel";
import { currentFrame, dialog, position } from "../store/app";
import { runCommand } from "../store/commands";
import {
  isPlaying,
  PACING_MODES,
  type PacingMode,
  pacingMode,
  playbackSpeed,
  SPEEDS,
  togglePlayback,
} from "../store/player";

const PACING_LABELS: Readonly<Record<PacingMode, string>> = {
  keep: "keep pace",
  every: "every frame",
};

export function Transport({ timeline }: { timeline: TimelineModel }) {
  const frame = currentFrame.value;
  const row = timeline.row(position.value);
  const decimals = timeDecimals(row?.duration_seconds ?? 0);
  const chunk = timeline.detail.value?.chunks.find((each) => each.chunk_id === row?.chunk_id);
  return (
    <div class="transport">
      <div class="group" role="group" aria-label="Move">
        <CommandButton label="First frame" text="|◂" command={{ type: "edge", edge: "first" }} />
        <CommandButton
          label="Previous frame with overlay"
          text="◂ ◆"
          command={{ type: "overlay", direction: -1 }}
        />
        <CommandButton label="One frame back" text="◂" command={{ type: "step", frames: -1 }} />
        <button
          type="button"
          class="play"
          aria-label={isPlaying.value ? "Pause" : "Play"}
          onClick={togglePlayback}
        >
          {isPlaying.value ? "❚❚" : "▶"}
        </button>
        <CommandButton label="One frame forward" text="▸" command={{ type: "step", frames: 1 }} />
        <CommandButton
          label="Next frame with overlay"
          text="◆ ▸"
          command={{ type: "overlay", direction: 1 }}
        />
        <CommandButton label="Last frame" text="▸|" command={{ type: "edge", edge: "last" }} />
      </div>
      <button
        type="button"
        class="readout"
        title="Go to a frame or time (g)"
        onClick={() => {
          dialog.value = "goTo";
        }}
      >
        <span class="key">frame</span>
        <strong data-testid="sequence">
          {approximationPrefix(frame?.exact)}
          {frame?.sequence == null ? "–" : formatCount(frame.sequence)}
        </strong>
        <span class="key">time</span>
        <strong data-testid="time">
          {approximationPrefix(frame?.exact)}
          {frame?.timestamp == null ? "–" : formatTime(frame.timestamp, decimals)}
        </strong>
      </button>
      <p class="facts">
        <span>
          {formatCount(position.value + 1)} of {formatCount(timeline.count)}
        </span>
        {chunk !== undefined && (
          <span>
            chunk {chunk.chunk_id}, {chunk.name}
          </span>
        )}
        {row?.status === "undecodable" && <span class="bad">undecodable</span>}
      </p>
      <span class="grow" />
      <label class="inline">
        <span class="unseen">Playback when frames load slowly</span>
        <select
          value={pacingMode.value}
          title="Keep pace: skip frames that load too late. Every frame: wait for each one."
          onChange={(event) => {
            pacingMode.value = event.currentTarget.value as PacingMode;
          }}
        >
          {PACING_MODES.map((each) => (
            <option key={each} value={each}>
              {PACING_LABELS[each]}
            </option>
          ))}
        </select>
      </label>
      <label class="inline">
        Speed
        <select
          value={playbackSpeed.value}
          onChange={(event) => {
            playbackSpeed.value = Number(event.currentTarget.value);
          }}
        >
          {SPEEDS.map((each) => (
            <option key={each} value={each}>
              {each}×
            </option>
          ))}
        </select>
      </label>
    </div>
  );
}

interface CommandButtonProps {
  label: string;
  text: string;
  command: Parameters<typeof runCommand>[0];
}

function CommandButton({ label, text, command }: CommandButtonProps) {
  return (
    <button type="button" aria-label={label} title={label} onClick={() => runCommand(command)}>
      {text}
    </button>
  );
}

function approximationPrefix(exact: boolean | undefined): string {
  return exact === false ? "≈ " : "";
}
