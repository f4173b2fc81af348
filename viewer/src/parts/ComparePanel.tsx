import { useSignal, useSignalEffect } from "@preact/signals";
import { getJson } from "../api/client";
import type { TimelinePage } from "../api/types";
import type { Opened } from "../data/opened";
import {
  COMPARE_MODES,
  type CompareMode,
  type Comparison,
  formatStage,
  parseStage,
  type StageRef,
} from "../pure/address";
import { other } from "../state/app";
import { gain, moveToDifference, searching, stagesOf, startComparing } from "../state/comparing";
import { comparison, setComparison } from "../state/view";

const MODE_NAMES: Readonly<Record<CompareMode, string>> = {
  side: "Side",
  swipe: "Swipe",
  blink: "Blink",
  difference: "Difference",
};

export function ComparePanel({ timeline }: { timeline: Opened }) {
  const compared = comparison.value;
  if (compared === null) {
    return (
      <section>
        <h2>Compare</h2>
        <button type="button" onClick={startComparing}>
          Compare stages or timelines
        </button>
      </section>
    );
  }
  const change = (difference: Partial<Comparison>) => setComparison({ ...compared, ...difference });
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
            aria-pressed={compared.mode === mode}
            onClick={() => change({ mode })}
          >
            {MODE_NAMES[mode]}
          </button>
        ))}
      </div>
      <StageChoice
        label="First"
        stages={stagesOf(timeline)}
        value={compared.a}
        onChoose={(a) => change({ a })}
      />
      <StageChoice
        label="Second"
        stages={stagesOf(compared.timeline === null ? timeline : other.value)}
        value={compared.b}
        onChoose={(b) => change({ b })}
      />
      <TimelineChoice
        timeline={timeline}
        value={compared.timeline}
        onChoose={(id) => change({ timeline: id, b: null })}
      />
      {compared.timeline !== null && (
        <label class="inline">
          Matched by
          <select
            value={compared.match}
            onChange={(event) =>
              change({ match: event.currentTarget.value === "time" ? "time" : "sequence" })
            }
          >
            <option value="sequence">sequence</option>
            <option value="time">time</option>
          </select>
        </label>
      )}
      {compared.mode === "difference" && (
        <label class="inline">
          Brighter
          <input
            type="range"
            min={1}
            max={16}
            step={1}
            value={gain.value}
            onInput={(event) => {
              gain.value = event.currentTarget.valueAsNumber;
            }}
          />
          <output>{gain.value}×</output>
        </label>
      )}
      <div class="modes" role="group" aria-label="Differences">
        <span class="hint">Difference</span>
        <button
          type="button"
          aria-label="Previous difference"
          disabled={searching.value}
          onClick={() => void moveToDifference(-1)}
        >
          ◂ Previous
        </button>
        <button
          type="button"
          aria-label="Next difference"
          disabled={searching.value}
          onClick={() => void moveToDifference(1)}
        >
          Next ▸
        </button>
      </div>
    </section>
  );
}

interface StageChoiceProps {
  label: string;
  stages: readonly StageRef[];
  value: StageRef | null;
  onChoose: (stage: StageRef | null) => void;
}

function StageChoice({ label, stages, value, onChoose }: StageChoiceProps) {
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

interface TimelineChoiceProps {
  timeline: Opened;
  value: string | null;
  onChoose: (id: string | null) => void;
}

function TimelineChoice({ timeline, value, onChoose }: TimelineChoiceProps) {
  const ids = useSignal<readonly string[]>(value === null ? [] : [value]);
  useSignalEffect(() => {
    getJson<TimelinePage>("api/timelines?limit=200").then(
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
