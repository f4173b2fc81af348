/** Comparison of two stages, jobs or timelines, and their differences. */
import { computed, signal } from "@preact/signals";
import { isAbort } from "../api/client";
import type { FrameDetail } from "../api/types";
import { findNearest } from "../lib/timelineAxis";
import {
  COMPARE_MODES,
  type Comparison,
  formatStage,
  isSameStage,
  type Layer,
  type StageRef,
} from "../lib/viewUrl";
import type { TimelineModel } from "../model/timelineModel";
import {
  areOverlaysHidden,
  comparedTimeline,
  currentFrame,
  currentTimeline,
  notice,
  position,
  seekToPosition,
  seekToSequence,
  visibleLayers,
} from "./app";
import { comparison, pushHistoryEntry, setComparison } from "./view";

/** Limit of one search for the next frame that looks different. */
const MAX_SEARCHED_FRAMES = 20_000;

export const differenceGain = signal(1);
export const isSearching = signal(false);

export interface Side {
  readonly timeline: TimelineModel;
  readonly layers: readonly Layer[];
  readonly label: string;
}

/** All stages of a timeline, in the order of the service. */
export function listStages(timeline: TimelineModel | null): StageRef[] {
  return Object.entries(timeline?.detail.value?.jobs ?? {}).flatMap(([job, stages]) =>
    Object.keys(stages).map((stage) => ({ job, stage })),
  );
}

export const sideA = computed<Side | null>(() => {
  const timeline = currentTimeline.value;
  if (timeline === null) return null;
  return createSide(timeline, comparison.value?.a ?? null);
});

export const sideB = computed<Side | null>(() => {
  const compared = comparison.value;
  const timeline = compared?.timeline === null ? currentTimeline.value : comparedTimeline.value;
  if (compared === null || timeline === null) return null;
  return createSide(timeline, compared.b);
});

/** Sides on screen: two in a comparison, else one. */
export const visibleSides = computed<readonly Side[]>(() =>
  [sideA.value, sideB.value].flatMap((side) => {
    if (side === null) return [];
    return areOverlaysHidden.value ? { ...side, layers: [] } : side;
  }),
);

/** Start a comparison, or switch to the next mode; after the last mode, stop. */
export function cycleCompareMode(): void {
  const current = comparison.peek();
  if (current === null) {
    startComparison();
    return;
  }
  const mode = COMPARE_MODES[COMPARE_MODES.indexOf(current.mode) + 1];
  setComparison(mode === undefined ? null : { ...current, mode });
}

/** Compare the first visible stage with the same stage of another job; else with another stage. */
export function startComparison(): void {
  const stages = listStages(currentTimeline.peek());
  const first = visibleLayers.peek()[0] ?? stages[0];
  const a = first === undefined ? null : { job: first.job, stage: first.stage };
  const b =
    stages.find((each) => each.stage === a?.stage && each.job !== a.job) ??
    stages.find((each) => !isSameStage(each, a)) ??
    null;
  setComparison({ mode: COMPARE_MODES[0], a, b, timeline: null, match: "sequence" });
}

export async function seekToDifference(direction: -1 | 1): Promise<void> {
  const current = comparison.peek();
  const timeline = currentTimeline.peek();
  const sequence = currentFrame.peek()?.sequence ?? null;
  if (current === null || timeline === null || sequence === null || isSearching.peek()) return;
  isSearching.value = true;
  try {
    const outcome = await seekToNextDifference(current, timeline, sequence, direction);
    if (outcome === "none") {
      notice.value = `No ${direction === 1 ? "later" : "earlier"} frame differs.`;
    } else if (outcome === "limit reached") {
      notice.value = `No difference within ${MAX_SEARCHED_FRAMES} frames. Move on and search again.`;
    }
  } catch (error) {
    if (!isAbort(error)) notice.value = (error as Error).message;
  } finally {
    isSearching.value = false;
  }
}

async function seekToNextDifference(
  compared: Comparison,
  timeline: TimelineModel,
  sequence: number,
  direction: -1 | 1,
): Promise<"found" | "none" | "limit reached"> {
  const { a, b } = compared;
  if (a !== null && b !== null) {
    const differences = await timeline.compareOverlays(a, b, compared.timeline);
    const next = findNearest([differences.sequence], sequence, direction);
    if (next === null) return "none";
    pushHistoryEntry();
    await seekToSequence(next);
    return "found";
  }
  const peer = comparedTimeline.peek();
  if (peer === null) return "none";
  const start = position.peek();
  for (let distance = 1; distance <= MAX_SEARCHED_FRAMES; distance += 1) {
    const candidate = start + direction * distance;
    if (candidate < 0 || candidate >= timeline.count) return "none";
    const row = await timeline.loadRow(candidate);
    if (row === undefined) return "none";
    const counterpart = await peer.loadRow(await findMatch(peer, row, compared.match));
    if (counterpart?.perceptual_hash === row.perceptual_hash) continue;
    pushHistoryEntry();
    seekToPosition(candidate);
    return "found";
  }
  return "limit reached";
}

/** Return the result of `findMatchingPosition` if it needs no request. */
export function peekMatchingPosition(side: Side, position: number): number | undefined {
  const timeline = currentTimeline.peek();
  if (side.timeline === timeline) return position;
  const row = timeline?.row(position);
  if (row === undefined) return undefined;
  return comparison.peek()?.match === "time"
    ? side.timeline.peekPositionAtTime(row.timestamp)
    : side.timeline.peekPositionOfSequence(row.sequence);
}

/** Return the position on a side's timeline that matches a position of the current timeline. */
export async function findMatchingPosition(side: Side, position: number): Promise<number> {
  const timeline = currentTimeline.peek();
  if (side.timeline === timeline) return position;
  const row = await timeline?.loadRow(position);
  if (row === undefined) return position;
  return await findMatch(side.timeline, row, comparison.peek()?.match ?? "sequence");
}

/** Return the position on another timeline that matches a frame. */
async function findMatch(
  peer: TimelineModel,
  row: Pick<FrameDetail, "sequence" | "timestamp">,
  match: Comparison["match"],
): Promise<number> {
  if (match === "time") return await peer.findPositionAtTime(row.timestamp);
  return await peer.findPositionOfSequence(row.sequence);
}

function createSide(timeline: TimelineModel, stage: StageRef | null): Side {
  if (stage === null) return { timeline, layers: visibleLayers.value, label: timeline.timelineId };
  const visible = visibleLayers.value.filter((layer) => isSameStage(layer, stage));
  const names = Object.keys(timeline.detail.value?.jobs[stage.job]?.[stage.stage]?.names ?? {});
  const topLayer = visibleLayers.value[0];
  const all = names.map((name) => ({
    ...stage,
    name,
    opacity:
      visibleLayers.value.find((layer) => layer.name === name)?.opacity ?? topLayer?.opacity ?? 1,
    blend: null,
  }));
  const label = formatStage(stage);
  return {
    timeline,
    layers: visible.length > 0 ? visible : all,
    label: timeline === currentTimeline.value ? label : `${timeline.timelineId} · ${label}`,
  };
}
