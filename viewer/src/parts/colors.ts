import type { Opened } from "../data/opened";
import { type StageRef, sameStage } from "../pure/address";
import { stagesOf } from "../state/comparing";

/** Colours that are told apart on both themes, also by those who do not see red and green as two. */
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

/** The number of a stage's colour. */
export function colorOf(timeline: Opened, stage: StageRef): number {
  const index = stagesOf(timeline).findIndex((each) => sameStage(each, stage));
  return Math.max(index, 0) % COLORS.length;
}

export function cssColorOf(timeline: Opened, stage: StageRef): string {
  return COLORS[colorOf(timeline, stage)] ?? "gray";
}
