/** Playback by the timestamps of frames. Each frame is shown with all its overlays. */
import { effect, signal, untracked } from "@preact/signals";
import { advanceClock } from "../lib/playbackClock";
import { Prefetcher } from "../model/prefetcher";
import type { TimelineModel } from "../model/timelineModel";
import {
  areOverlaysHidden,
  currentTimeline,
  isPositionRestored,
  loadingFrameCount,
  position,
  seekToPosition,
  visibleLayers,
} from "./app";
import { Lookahead } from "./lookahead";

export const SPEEDS = [0.1, 0.25, 0.5, 1, 2, 4] as const;
/** Behavior if frames load too slowly: `keep` drops frames, `every` slows down. */
export const PACING_MODES = ["keep", "every"] as const;
export type PacingMode = (typeof PACING_MODES)[number];

export const isPlaying = signal(false);
export const playbackSpeed = signal<number>(1);
export const pacingMode = signal<PacingMode>("keep");

const IDLE_PREFETCH_OFFSETS = [1, -1, 2, -2];
const IDLE_MILLISECONDS = 120;
/** Longer gaps between chunks are shortened to this. */
const MAX_GAP_SECONDS = 2;
const DEFAULT_FRAME_SECONDS = 0.04;
/** The clock starts when this number of frames is decoded, or after MAX_BUFFERING_SECONDS. */
const MIN_BUFFERED_FRAMES = 6;
const MAX_BUFFERING_SECONDS = 0.75;

const prefetcher = new Prefetcher();
const lookahead = new Lookahead();

export function togglePlayback(): void {
  if (isPlaying.value) {
    isPlaying.value = false;
    return;
  }
  const last = (currentTimeline.value?.count ?? 0) - 1;
  if (position.value >= last) seekToPosition(0);
  isPlaying.value = last > 0;
}

/** Prefetch the frames around the current one while playback is paused. */
export function startIdlePrefetch(): void {
  effect(() => {
    if (!isPositionRestored.value) return;
    const timeline = currentTimeline.value;
    const current = position.value;
    const layers = areOverlaysHidden.value ? [] : visibleLayers.value;
    const positions = isPlaying.value
      ? []
      : IDLE_PREFETCH_OFFSETS.map((offset) => current + offset);
    prefetcher.cancelExcept(timeline, positions);
    if (isPlaying.value) return;
    const timer = setTimeout(
      () => prefetcher.prefetch(timeline, positions, layers),
      IDLE_MILLISECONDS,
    );
    return () => clearTimeout(timer);
  });
}

export function startPlaybackLoop(): void {
  effect(() => {
    const timeline = currentTimeline.value;
    if (!isPlaying.value || timeline === null) return;
    let request = requestAnimationFrame(tick);
    const startTime = performance.now();
    let isBuffering = true;
    let previousTime: number | null = null;
    let elapsedSeconds = 0;
    function tick(now: number): void {
      request = requestAnimationFrame(tick);
      if (timeline === null) return;
      isBuffering &&=
        now - startTime < MAX_BUFFERING_SECONDS * 1000 && !isBuffered(timeline, position.peek());
      if (!isBuffering && previousTime !== null) {
        elapsedSeconds += ((now - previousTime) / 1000) * playbackSpeed.peek();
      }
      previousTime = now;
      const canDropFrames = pacingMode.peek() === "keep" && !isBuffering;
      elapsedSeconds = untracked(() => advancePlayback(timeline, elapsedSeconds, canDropFrames));
    }
    return () => {
      cancelAnimationFrame(request);
      lookahead.stop();
    };
  });
}

function isBuffered(timeline: TimelineModel, current: number): boolean {
  const last = Math.min(current + MIN_BUFFERED_FRAMES, timeline.count - 1);
  for (let position = current + 1; position <= last; position += 1) {
    if (!lookahead.isReady(position)) return false;
  }
  return true;
}

/** Show the frame that is due. Return the seconds of video since the shown frame was due. */
function advancePlayback(
  timeline: TimelineModel,
  elapsedSeconds: number,
  canDropFrames: boolean,
): number {
  const current = position.peek();
  if (current + 1 >= timeline.count) {
    isPlaying.value = false;
    return 0;
  }
  // Wait for a frame that is still loading, so that the next does not cancel it.
  const isFrameDrawn = loadingFrameCount.peek() === 0;
  const update = advanceClock(
    {
      position: current,
      count: timeline.count,
      elapsedSeconds,
      speed: playbackSpeed.peek(),
      canDropFrames,
      secondsToNext: (position) => secondsToNext(timeline, position),
    },
    (position) => isFrameDrawn && lookahead.isReady(position),
  );
  const frameSeconds = timeline.row(current)?.duration_seconds || DEFAULT_FRAME_SECONDS;
  const { due, latest, shown } = update;
  const framesPerSecond = playbackSpeed.peek() / frameSeconds;
  lookahead.advance(timeline, { position: shown, due, latest, framesPerSecond, canDropFrames });
  if (shown !== current) seekToPosition(shown);
  return update.elapsedSeconds;
}

/** Return the seconds from a frame to the next; undefined, and request its row, if not loaded. */
function secondsToNext(timeline: TimelineModel, position: number): number | undefined {
  const row = timeline.row(position);
  const next = timeline.row(position + 1);
  if (row === undefined || next === undefined) {
    if (position + 1 < timeline.count) {
      void timeline.loadRow(row === undefined ? position : position + 1);
    }
    return undefined;
  }
  return Math.min(next.timestamp - row.timestamp, MAX_GAP_SECONDS);
}
