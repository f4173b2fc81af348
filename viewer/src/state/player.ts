/** Playback at the pace of the frames' own times. */
import { effect, signal } from "@preact/signals";
import { Ahead } from "../data/ahead";
import { framePictures } from "../data/opened";
import { layers, moveTo, opened, overlaysHidden, placed, position } from "./app";

export const SPEEDS = [0.1, 0.25, 0.5, 1, 2, 4] as const;

export const playing = signal(false);
export const speed = signal<number>(1);

const AHEAD_WHILE_PLAYING = [1, 2, 3, 4, 5, 6, 7, 8];
const AHEAD_AT_REST = [1, -1, 2, -2];
const REST_MILLISECONDS = 120;
/** Frames with a longer pause between them, where chunks leave one, are not waited for. */
const LONGEST_PAUSE_SECONDS = 2;

const ahead = new Ahead();

export function togglePlaying(): void {
  if (playing.value) {
    playing.value = false;
    return;
  }
  const last = (opened.value?.count ?? 0) - 1;
  if (position.value >= last) moveTo(0);
  playing.value = last > 0;
}

/** Fetch frames ahead of playback, and around a frame that is being looked at. */
export function keepAhead(): void {
  effect(() => {
    if (!placed.value) return;
    const timeline = opened.value;
    const here = position.value;
    const drawn = overlaysHidden.value ? [] : layers.value;
    const offsets = playing.value ? AHEAD_WHILE_PLAYING : AHEAD_AT_REST;
    const wanted = offsets.map((offset) => here + offset);
    if (playing.value) {
      ahead.want(timeline, wanted, drawn);
      return;
    }
    ahead.keep(timeline, wanted);
    const timer = setTimeout(() => ahead.want(timeline, wanted, drawn), REST_MILLISECONDS);
    return () => clearTimeout(timer);
  });
}

export function keepPlaying(): void {
  effect(() => {
    if (!playing.value || opened.value === null) return;
    let request = requestAnimationFrame(tick);
    let before: number | null = null;
    let credit = 0;
    function tick(now: number): void {
      request = requestAnimationFrame(tick);
      credit += before === null ? 0 : ((now - before) / 1000) * speed.peek();
      before = now;
      credit = advance(credit);
    }
    return () => cancelAnimationFrame(request);
  });
}

/** Go on by the frames that are due and there; returns the seconds that are left over. */
function advance(credit: number): number {
  const timeline = opened.peek();
  if (timeline === null) return 0;
  let here = position.peek();
  let left = credit;
  for (;;) {
    const row = timeline.row(here);
    const next = timeline.row(here + 1);
    if (here + 1 >= timeline.count) {
      playing.value = false;
      break;
    }
    if (row === undefined || next === undefined) {
      void timeline.loadRow(here + (row === undefined ? 0 : 1));
      left = 0;
      break;
    }
    const pause = Math.min(next.timestamp - row.timestamp, LONGEST_PAUSE_SECONDS);
    if (left < pause) break;
    if (next.status === "ok" && !framePictures.has(timeline.frameUrl(next.sequence))) {
      left = pause;
      break;
    }
    left -= pause;
    here += 1;
  }
  if (here !== position.peek()) moveTo(here);
  return left;
}
