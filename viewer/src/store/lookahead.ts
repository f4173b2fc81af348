/** Lookahead of playback: fetches two seconds ahead, and decodes the next few frames. */
import { nextDecodePosition, type PlaybackProgress } from "../lib/playbackClock";
import { clamp } from "../lib/timelineAxis";
import { type Layer, layerKey } from "../lib/viewUrl";
import { loadComposite, peekComposite } from "../model/composite";
import { type BatchResult, fetchFrameBatch } from "../model/frameBatch";
import type { TimelineModel } from "../model/timelineModel";
import { findMatchingPosition, peekMatchingPosition, type Side, visibleSides } from "./comparison";

const FETCH_AHEAD_SECONDS = 2;
/** Small, so that playback starts early. */
const FIRST_BATCH_FRAMES = 8;
const MAX_BATCH_FRAMES = 250;
/** Must be less than the cache of encoded pictures, which would otherwise evict unused ones. */
const FETCH_AHEAD_BYTES = 32 * 2 ** 20;
/** Two, so that the network is not idle between batches. */
const MAX_CONCURRENT_BATCHES = 2;
/** One per core, because more would only delay each other. */
const MAX_CONCURRENT_DECODES = clamp(navigator.hardwareConcurrency, 2, 4);
const MAX_DECODED_AHEAD = 12;
/** Must be less than the cache of overlays, which would otherwise evict unused ones. */
const DECODE_AHEAD_BYTES = 96 * 2 ** 20;
/** Weight of the latest measurement in the moving average. */
const SMOOTHING_FACTOR = 0.2;

export class Lookahead {
  #abort = new AbortController();
  #sides: readonly Side[] = [];
  #current = 0;
  /** First position that is in no requested batch. */
  #nextToFetch = 0;
  #isFirstBatch = true;
  readonly #pendingBatches = new Set<Batch>();
  /** Rest of batches whose responses were truncated because of their size. */
  readonly #incompleteBatches: Batch[] = [];
  /** Average bytes of a frame with its overlays; 0 until the first response. */
  #frameBytes = 0;
  /** First position whose decode was not started. */
  #nextToDecode = 0;
  readonly #decoding = new Set<number>();
  /** Positions whose decode finished, also with an error. */
  readonly #decoded = new Set<number>();
  #decodeSeconds = 0;

  /** Return true if a position can be drawn now, or if loading more of it failed. */
  isReady(position: number): boolean {
    return this.#decoded.has(position) || isComplete(position);
  }

  advance(timeline: TimelineModel, progress: PlaybackProgress): void {
    const sides = visibleSides.peek();
    if (sidesKey(sides) !== sidesKey(this.#sides) || progress.position < this.#current) this.stop();
    this.#sides = sides;
    this.#current = progress.position;
    this.#nextToDecode = Math.max(this.#nextToDecode, progress.position + 1);
    for (const position of this.#decoded) {
      if (position <= progress.position) this.#decoded.delete(position);
    }
    this.#fill(timeline, progress);
  }

  /** Cancel pending requests. */
  stop(): void {
    this.#abort.abort();
    this.#abort = new AbortController();
    this.#pendingBatches.clear();
    this.#incompleteBatches.length = 0;
    this.#decoding.clear();
    this.#decoded.clear();
    this.#isFirstBatch = true;
    this.#nextToFetch = 0;
    this.#nextToDecode = 0;
  }

  #fill(timeline: TimelineModel, progress: PlaybackProgress): void {
    while (this.#pendingBatches.size < MAX_CONCURRENT_BATCHES) {
      const batch = this.#incompleteBatches.shift() ?? this.#nextBatch(timeline, progress);
      if (batch === null) break;
      this.#fetchBatch(timeline, progress, batch);
    }
    this.#startDecodes(timeline, progress);
  }

  /** Return the next batch once half of the window is free, so that batches are not tiny. */
  #nextBatch(
    timeline: TimelineModel,
    { position: current, framesPerSecond }: PlaybackProgress,
  ): Batch | null {
    const frames = Math.ceil(framesPerSecond * FETCH_AHEAD_SECONDS);
    const maxFrames = this.#frameBytes === 0 ? frames : FETCH_AHEAD_BYTES / this.#frameBytes;
    const window = clamp(Math.floor(Math.min(frames, maxFrames)), 2, MAX_BATCH_FRAMES);
    const end = Math.min(current + 1 + window, timeline.count);
    let start = Math.max(this.#nextToFetch, current + 1);
    while (start < end && isComplete(start)) start += 1;
    this.#nextToFetch = start;
    const batchFrames = this.#isFirstBatch ? FIRST_BATCH_FRAMES : Math.ceil(window / 2);
    const stop = Math.min(start + batchFrames, end);
    if (
      start >= stop ||
      (stop - start < batchFrames && stop < timeline.count && !this.#isFirstBatch)
    )
      return null;
    this.#isFirstBatch = false;
    this.#nextToFetch = stop;
    return { start, stop };
  }

  #fetchBatch(timeline: TimelineModel, progress: PlaybackProgress, batch: Batch): void {
    const { start, stop } = batch;
    const { signal } = this.#abort;
    this.#pendingBatches.add(batch);
    const parts = layersByTimeline(this.#sides).map(([each, layers]) =>
      each === timeline
        ? fetchFrameBatch(each, start, stop, layers, signal)
        : fetchMatchingFrames(each, this.#sides, start, stop, layers, signal),
    );
    Promise.all(parts)
      .then((results) => {
        const end = Math.min(stop, ...results.map((each) => each.end));
        const sizeBytes = results.reduce((sum, each) => sum + each.sizeBytes, 0);
        return { end, sizeBytes };
      })
      // Decoding then requests each picture, which reports the error.
      .catch(() => ({ end: stop, sizeBytes: 0 }))
      .then(({ end, sizeBytes }) => {
        if (signal.aborted) return;
        this.#pendingBatches.delete(batch);
        if (end < stop) this.#incompleteBatches.push({ start: end, stop });
        if (sizeBytes > 0) this.#frameBytes = sizeBytes / (end - start);
        this.#fill(timeline, progress);
      });
  }

  /** First position without bytes from a batch: decoding it would cause a single request. */
  #firstMissing(): number {
    const missing = [...this.#pendingBatches, ...this.#incompleteBatches];
    return Math.min(this.#nextToFetch, ...missing.map(({ start }) => start));
  }

  #startDecodes(timeline: TimelineModel, progress: PlaybackProgress): void {
    const maxDecoded = maxDecodedAhead(timeline, this.#sides);
    const stop = Math.min(timeline.count, this.#firstMissing());
    const limited = { ...progress, latest: Math.min(progress.latest, stop - 1) };
    while (
      this.#decoding.size < MAX_CONCURRENT_DECODES &&
      this.#decoding.size + this.#decoded.size < maxDecoded
    ) {
      const rate = { concurrency: MAX_CONCURRENT_DECODES, secondsPerFrame: this.#decodeSeconds };
      const position = nextDecodePosition(this.#nextToDecode, limited, rate);
      if (position >= stop) return;
      this.#nextToDecode = position + 1;
      this.#decodePosition(timeline, progress, position);
    }
  }

  #decodePosition(timeline: TimelineModel, progress: PlaybackProgress, position: number): void {
    const { signal } = this.#abort;
    const start = performance.now();
    this.#decoding.add(position);
    const sides = this.#sides.map(async (side) => {
      const matching = await findMatchingPosition(side, position);
      signal.throwIfAborted();
      await loadComposite(side.timeline, matching, side.layers, signal);
    });
    Promise.allSettled(sides).then(() => {
      if (signal.aborted) return;
      this.#decoding.delete(position);
      this.#decoded.add(position);
      const seconds = (performance.now() - start) / 1000;
      this.#decodeSeconds += (seconds - this.#decodeSeconds) * SMOOTHING_FACTOR;
      this.#startDecodes(timeline, progress);
    });
  }
}

interface Batch {
  readonly start: number;
  readonly stop: number;
}

/** Return true if all sides can draw a position now. */
function isComplete(position: number): boolean {
  return visibleSides.peek().every((side) => {
    const matching = peekMatchingPosition(side, position);
    return matching !== undefined && peekComposite(side.timeline, matching, side.layers) !== null;
  });
}

/** Number of positions to decode ahead without evicting any before it is shown. */
function maxDecodedAhead(timeline: TimelineModel, sides: readonly Side[]): number {
  const detail = timeline.detail.peek();
  const layerCount = sides.reduce((count, { layers }) => count + layers.length, 0);
  const bytes = (detail?.width ?? 0) * (detail?.height ?? 0) * 4 * Math.max(1, layerCount);
  return clamp(Math.floor(DECODE_AHEAD_BYTES / Math.max(1, bytes)), 1, MAX_DECODED_AHEAD);
}

function layersByTimeline(sides: readonly Side[]): [TimelineModel, readonly Layer[]][] {
  const layersOf = new Map<TimelineModel, Map<string, Layer>>();
  for (const { timeline, layers } of sides) {
    const byKey = layersOf.get(timeline) ?? new Map<string, Layer>();
    for (const layer of layers) byKey.set(layerKey(layer), layer);
    layersOf.set(timeline, byKey);
  }
  return [...layersOf].map(([timeline, layers]) => [timeline, [...layers.values()]]);
}

/** Fetch the frames of the compared timeline that match positions of the current one. */
async function fetchMatchingFrames(
  peer: TimelineModel,
  sides: readonly Side[],
  start: number,
  stop: number,
  layers: readonly Layer[],
  signal: AbortSignal,
): Promise<BatchResult> {
  const nothing = { end: stop, sizeBytes: 0 };
  const side = sides.find(({ timeline }) => timeline === peer);
  if (side === undefined) return nothing;
  const first = await findMatchingPosition(side, start);
  const last = await findMatchingPosition(side, stop - 1);
  signal.throwIfAborted();
  if (last - first >= MAX_BATCH_FRAMES) return nothing;
  const { end, sizeBytes } = await fetchFrameBatch(peer, first, last + 1, layers, signal);
  return { end: end > last ? stop : start + 1, sizeBytes };
}

function sidesKey(sides: readonly Side[]): string {
  return sides
    .map(({ timeline, layers }) => {
      const version = timeline.detail.peek()?.version ?? "";
      return [timeline.timelineId, version, ...layers.map(layerKey)].join(" ");
    })
    .join("\n");
}
