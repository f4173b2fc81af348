import { isSameStage, type StageRef } from "../lib/viewUrl";
import type { TimelineModel } from "../model/timelineModel";
import { listStages } from "../store/comparison";

/** Distinguishable in both themes, and with red-green color blindness. */
const COLORS = [
  "#4ea1f3",
  "#e8a33d",
  "#3fb68b",
  "#d97ac8",
  "#c9c33f",
  "#e2705a",
  "#8f8cf0",
  "#5cc3d6",
];

/** Index of a stage's color; the style sheet has the same colors. */
export function stageColorIndex(timeline: TimelineModel, stage: StageRef): number {
  const index = listStages(timeline).findIndex((each) => isSameStage(each, stage));
  return Math.max(index, 0) % COLORS.length;
}

export function stageColor(timeline: TimelineModel, stage: StageRef): string {
  return COLORS[stageColorIndex(timeline, stage)] ?? "gray";
}
