import type { Opened } from "../data/opened";
import { decimalsOf, formatCount, formatTime } from "../pure/format";
import { dialog, place, position } from "../state/app";
import { run } from "../state/commands";
import { playing, SPEEDS, speed, togglePlaying } from "../state/player";

export function Transport({ timeline }: { timeline: Opened }) {
  const here = place.value;
  const row = timeline.row(position.value);
  const decimals = decimalsOf(row?.duration_seconds ?? 0);
  const chunk = timeline.detail.value?.chunks.find((each) => each.chunk_id === row?.chunk_id);
  return (
    <div class="transport">
      <div class="group" role="group" aria-label="Move">
        <Step label="First frame" text="|◂" command={{ do: "edge", edge: "first" }} />
        <Step
          label="Previous frame with overlay"
          text="◂ ◆"
          command={{ do: "overlay", direction: -1 }}
        />
        <Step label="One frame back" text="◂" command={{ do: "step", frames: -1 }} />
        <button
          type="button"
          class="play"
          aria-label={playing.value ? "Pause" : "Play"}
          onClick={togglePlaying}
        >
          {playing.value ? "❚❚" : "▶"}
        </button>
        <Step label="One frame on" text="▸" command={{ do: "step", frames: 1 }} />
        <Step
          label="Next frame with overlay"
          text="◆ ▸"
          command={{ do: "overlay", direction: 1 }}
        />
        <Step label="Last frame" text="▸|" command={{ do: "edge", edge: "last" }} />
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
          {approximate(here?.exact)}
          {here?.sequence == null ? "–" : formatCount(here.sequence)}
        </strong>
        <span class="key">time</span>
        <strong data-testid="time">
          {approximate(here?.exact)}
          {here?.timestamp == null ? "–" : formatTime(here.timestamp, decimals)}
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
        {row !== undefined && row.status !== "ok" && <span class="bad">undecodable</span>}
      </p>
      <span class="grow" />
      <label class="inline">
        Speed
        <select
          value={speed.value}
          onChange={(event) => {
            speed.value = Number(event.currentTarget.value);
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

interface StepProps {
  label: string;
  text: string;
  command: Parameters<typeof run>[0];
}

function Step({ label, text, command }: StepProps) {
  return (
    <button type="button" aria-label={label} title={label} onClick={() => run(command)}>
      {text}
    </button>
  );
}

function approximate(exact: boolean | undefined): string {
  return exact === false ? "≈ " : "";
}
