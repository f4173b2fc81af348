import { useSignal, useSignalEffect } from "@preact/signals";
import { getJson } from "../api/client";
import type { TimelineListPage } from "../api/types";
import {
  COMPARE_MODES,
  type CompareMode,
  type Comparison,
  formatStage,
  parseStage,
  type StageRef,
} from "../lib/viewUrl";
import type { TimelineModel } from "../model/timelineModel";
import { comparedTimeline } from "../store/app";
import {
  differenceGain,
  isSearching,
  listStages,
  seekToDifference,
  startComparison,
} from "../store/comparison";
import { comparison, setComparison } from "../store/view";

const MODE_NAMES: Readonly<Record<CompareMode, string>> = {
  side: "Side",
  swipe: "Swipe",
  blink: "Blink",
  difference: "Difference",
};

export function ComparePanel({ timeline }: { timeline: TimelineModel }) {
  const current = comparison.value;
  if (current === null) {
    return (
      <section>
        <h2>Compare</h2>
        <button type="button" onClick={startComparison}>
          Compare stages or timelines
        </button>
      </section>
    );
  }
  const change = (changes: Partial<Comparison>) => setComparison({ ...current, ...changes });
  return (
    <section>
      <h2>
        Compare
        <button type="button" class="quiet" onClick={() => setComparison(null)}>
          Stop
        </button>
      </h2>
      <div class="modes" role="group" aria-label="Way to compare">
        {COMPARE_MODES.map((mode) => (
          <button
            type="button"
            key={mode}
            aria-pressed={current.mode === mode}
            onClick={() => change({ mode })}
          >
            {MODE_NAMES[mode]}
          </button>
        ))}
      </div>
      <StageSelect
        label="First"
        stages={listStages(timeline)}
        value={current.a}
        onSelect={(a) => change({ a })}
      />
      <StageSelect
        label="Second"
        stages={listStages(current.timeline === null ? timeline : comparedTimeline.value)}
        value={current.b}
        onSelect={(b) => change({ b })}
      />
      <TimelineSelect
        timeline={timeline}
        value={current.timeline}
        onSelect={(id) => change({ timeline: id, b: null })}
      />
      {current.timeline !== null && (
        <label class="inline">
          Matched by
          <select
            value={current.match}
            onChange={(event) =>
              change({ match: event.currentTarget.value === "time" ? "time" : "sequence" })
            }
          >
            <option value="sequence">sequence</option>
            <option value="time">time</option>
          </select>
        </label>
      )}
      {current.mode === "difference" && (
        <label class="inline">
          Brighter
          <input
            type="range"
            min={1}
            max={16}
            step={1}
            value={differenceGain.value}
            onInput={(event) => {
              differenceGain.value = event.currentTarget.valueAsNumber;
            }}
          />
          <output>{differenceGain.value}×</output>
        </label>
      )}
      <div class="modes" role="group" aria-label="Differences">
        <span class="hint">Difference</span>
        <button
          type="button"
          aria-label="Previous difference"
          disabled={isSearching.value}
          onClick={() => void seekToDifference(-1)}
        >
          ◂ Previous
        </button>
        <button
          type="button"
          aria-label="Next difference"
          disabled={isSearching.value}
          onClick={() => void seekToDifference(1)}
        >
          Next ▸
        </button>
      </div>
    </section>
  );
}

interface StageSelectProps {
  label: string;
  stages: readonly StageRef[];
  value: StageRef | null;
  onSelect: (stage: StageRef | null) => void;
}

function StageSelect({ label, stages, value, onSelect: onChoose }: StageSelectProps) {
  return (
    <label class="inline">
      {label}
      <select
        value={value === null ? "" : formatStage(value)}
        onChange={(event) => onChoose(parseStage(event.currentTarget.value))}
      >
        <option value="">as shown</option>
        {stages.map((stage) => (
          <option key={formatStage(stage)} value={formatStage(stage)}>
            {stage.job} / {stage.stage}
          </option>
        ))}
      </select>
    </label>
  );
}

interface TimelineSelectProps {
  timeline: TimelineModel;
  value: string | null;
  onSelect: (id: string | null) => void;
}

function TimelineSelect({ timeline, value, onSelect: onChoose }: TimelineSelectProps) {
  const ids = useSignal<readonly string[]>(value === null ? [] : [value]);
  useSignalEffect(() => {
    getJson<TimelineListPage>("api/v1/timelines?limit=200").then(
      ({ timelines }) => {
        ids.value = timelines.map((each) => each.timeline_id);
      },
      () => undefined,
    );
  });
  return (
    <label class="inline">
      Timeline of second
      <select value={value ?? ""} onChange={(event) => onChoose(event.currentTarget.value || null)}>
        <option value="">the same</option>
        {ids.value
          .filter((id) => id !== timeline.timelineId)
          .map((id) => (
            <option key={id} value={id}>
              {id}
            </option>
          ))}
      </select>
    </label>
  );
}
