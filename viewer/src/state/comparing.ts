/** Two stages, jobs or timelines beside each other, and where they differ. */
import { computed, signal } from "@preact/signals";
import { isAbort } from "../api/client";
import type { FrameDetail } from "../api/types";
import type { Opened } from "../data/opened";
import {
  COMPARE_MODES,
  type Comparison,
  formatStage,
  type Layer,
  type StageRef,
  sameStage,
} from "../pure/address";
import { nearest } from "../pure/track";
import { goToSequence, layers, moveTo, notice, opened, other, place, position } from "./app";
import { comparison, keepInHistory, setComparison } from "./view";

/** How far a search for frames that look different goes on before it gives up, in frames. */
const MOST_SEARCHED = 20_000;

export const gain = signal(1);
export const searching = signal(false);

export interface Side {
  readonly timeline: Opened;
  readonly layers: readonly Layer[];
  readonly label: string;
}

/** All stages of a timeline, in the order of the service. */
export function stagesOf(timeline: Opened | null): StageRef[] {
  return Object.entries(timeline?.detail.value?.jobs ?? {}).flatMap(([job, stages]) =>
    Object.keys(stages).map((stage) => ({ job, stage })),
  );
}

export const sideA = computed<Side | null>(() => {
  const timeline = opened.value;
  if (timeline === null) return null;
  return sideOf(timeline, comparison.value?.a ?? null);
});

export const sideB = computed<Side | null>(() => {
  const compared = comparison.value;
  const timeline = compared?.timeline === null ? opened.value : other.value;
  if (compared === null || timeline === null) return null;
  return sideOf(timeline, compared.b);
});

/** Start to compare, or go on to the next way; after the last, stop. */
export function cycleMode(): void {
  const now = comparison.peek();
  if (now === null) {
    startComparing();
    return;
  }
  const mode = COMPARE_MODES[COMPARE_MODES.indexOf(now.mode) + 1];
  setComparison(mode === undefined ? null : { ...now, mode });
}

/** Compare the first shown stage with one of another job, or else with another stage. */
export function startComparing(): void {
  const stages = stagesOf(opened.peek());
  const first = layers.peek()[0] ?? stages[0];
  const a = first === undefined ? null : { job: first.job, stage: first.stage };
  const b =
    stages.find((each) => each.stage === a?.stage && each.job !== a.job) ??
    stages.find((each) => !sameStage(each, a)) ??
    null;
  setComparison({ mode: "swipe", a, b, timeline: null, match: "sequence" });
}

export async function moveToDifference(direction: -1 | 1): Promise<void> {
  const compared = comparison.peek();
  const timeline = opened.peek();
  const sequence = place.peek()?.sequence ?? null;
  if (compared === null || timeline === null || sequence === null || searching.peek()) return;
  searching.value = true;
  try {
    const found = await findDifference(compared, timeline, sequence, direction);
    if (found === "none") {
      notice.value = `No ${direction === 1 ? "later" : "earlier"} frame differs.`;
    } else if (found === "given up") {
      notice.value = `No difference within ${MOST_SEARCHED} frames. Move on and search again.`;
    }
  } catch (error) {
    if (!isAbort(error)) notice.value = (error as Error).message;
  } finally {
    searching.value = false;
  }
}

async function findDifference(
  compared: Comparison,
  timeline: Opened,
  sequence: number,
  direction: -1 | 1,
): Promise<"found" | "none" | "given up"> {
  const { a, b } = compared;
  if (a !== null && b !== null) {
    const differences = await timeline.differences(a, b, compared.timeline);
    const next = nearest([differences.sequence], sequence, direction);
    if (next === null) return "none";
    keepInHistory();
    await goToSequence(next);
    return "found";
  }
  const peer = other.peek();
  if (peer === null) return "none";
  const start = position.peek();
  for (let distance = 1; distance <= MOST_SEARCHED; distance += 1) {
    const candidate = start + direction * distance;
    if (candidate < 0 || candidate >= timeline.count) return "none";
    const row = await timeline.loadRow(candidate);
    if (row === undefined) return "none";
    const twin = await peer.loadRow(await matching(peer, row, compared.match));
    if (twin?.perceptual_hash === row.perceptual_hash) continue;
    keepInHistory();
    moveTo(candidate);
    return "found";
  }
  return "given up";
}

/** The position on the other timeline of a frame of this one. */
export async function matching(
  peer: Opened,
  row: Pick<FrameDetail, "sequence" | "timestamp">,
  match: Comparison["match"],
): Promise<number> {
  if (match === "time") return await peer.findTime(row.timestamp);
  return await peer.findSequence(row.sequence);
}

function sideOf(timeline: Opened, stage: StageRef | null): Side {
  if (stage === null) return { timeline, layers: layers.value, label: timeline.timelineId };
  const shown = layers.value.filter((layer) => sameStage(layer, stage));
  const names = Object.keys(timeline.detail.value?.jobs[stage.job]?.[stage.stage]?.names ?? {});
  const twin = layers.value[0];
  const all = names.map((name) => ({
    ...stage,
    name,
    opacity: layers.value.find((layer) => layer.name === name)?.opacity ?? twin?.opacity ?? 1,
    blend: null,
  }));
  const label = formatStage(stage);
  return {
    timeline,
    layers: shown.length > 0 ? shown : all,
    label: timeline === opened.value ? label : `${timeline.timelineId} · ${label}`,
  };
}
