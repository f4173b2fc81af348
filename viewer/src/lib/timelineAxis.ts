/** Axis of the scrubber: conversion between positions, sequences, times and pixels. */

/** Overview of a timeline in columns. A bucket has `bucket_size` consecutive positions. */
export interface Overview {
  readonly count: number;
  readonly bucket_size: number;
  readonly first_sequence: readonly number[];
  readonly timestamp: readonly number[];
  readonly chunk_id: readonly number[];
  readonly undecodable: readonly number[];
  readonly gap: readonly boolean[];
  readonly change: readonly (number | null)[];
}

export interface Estimate {
  readonly value: number;
  readonly exact: boolean;
}

/** Return the sequence at a position. It is exact if the bucket has no gap. */
export function sequenceAt(overview: Overview, position: number): Estimate | null {
  const bucket = Math.floor(position / overview.bucket_size);
  const first = overview.first_sequence[bucket];
  if (first === undefined) return null;
  const offset = position - bucket * overview.bucket_size;
  return { value: first + offset, exact: offset === 0 || isContiguous(overview, bucket) };
}

/** Return the position of a sequence, or of the next one in the index. */
export function positionOfSequence(overview: Overview, sequence: number): Estimate | null {
  if (overview.count === 0) return null;
  const bucket = Math.max(0, upperBound(overview.first_sequence, sequence) - 1);
  const first = overview.first_sequence[bucket] ?? 0;
  const start = bucket * overview.bucket_size;
  const stop = Math.min(start + overview.bucket_size, overview.count);
  const guess = start + Math.max(0, sequence - first);
  return {
    value: Math.min(guess, stop - 1),
    exact:
      sequence === first || (sequence >= first && guess < stop && isContiguous(overview, bucket)),
  };
}

/** Return the time at a position, interpolated between the starts of buckets. */
export function timeAt(overview: Overview, position: number): number | null {
  const bucket = Math.floor(position / overview.bucket_size);
  const start = overview.timestamp[bucket];
  if (start === undefined) return null;
  const next = overview.timestamp[bucket + 1];
  if (next === undefined) return start;
  return (
    start + ((next - start) * (position - bucket * overview.bucket_size)) / overview.bucket_size
  );
}

/** Positions at which chunks start, without the first chunk. */
export function chunkBoundaries(overview: Overview): number[] {
  return bucketStarts(overview, (i) => overview.chunk_id[i] !== overview.chunk_id[i - 1]);
}

export interface PositionRange {
  /** Half-open. */
  readonly start: number;
  readonly stop: number;
}

/** Ranges of positions whose buckets match. Adjacent buckets share a range. */
export function bucketRanges(
  overview: Overview,
  matches: (bucket: number) => boolean,
): PositionRange[] {
  const ranges: { start: number; stop: number }[] = [];
  for (let bucket = 0; bucket < overview.first_sequence.length; bucket += 1) {
    if (!matches(bucket)) continue;
    const start = bucket * overview.bucket_size;
    const stop = Math.min(start + overview.bucket_size, overview.count);
    const last = ranges.at(-1);
    if (last !== undefined && last.stop === start) last.stop = stop;
    else ranges.push({ start, stop });
  }
  return ranges;
}

export interface OverlayMark {
  /** Half-open range of pixels from the left edge, at least one pixel wide. */
  readonly left: number;
  readonly right: number;
  readonly stale: boolean;
}

/**
 * Marks of the frames with overlays of a stage, in a row of `width` pixels. Frames that are adjacent in
 * pixels share a mark, so there are at most as many marks as pixels.
 */
export function overlayMarks(
  overview: Overview,
  columns: { readonly sequence: ArrayLike<number>; readonly stale: ArrayLike<number | boolean> },
  width: number,
): OverlayMark[] {
  if (overview.count === 0 || width < 1) return [];
  const pixels = Math.floor(width);
  const pixelStates = new Uint8Array(pixels);
  let bucket = 0;
  for (let row = 0; row < columns.sequence.length; row += 1) {
    const sequence = columns.sequence[row] ?? 0;
    while ((overview.first_sequence[bucket + 1] ?? Infinity) <= sequence) bucket += 1;
    const position = Math.min(
      bucket * overview.bucket_size +
        Math.max(0, sequence - (overview.first_sequence[bucket] ?? 0)),
      Math.min((bucket + 1) * overview.bucket_size, overview.count) - 1,
    );
    const left = Math.min(pixels - 1, Math.floor(positionToX(position, overview.count, pixels)));
    const right = Math.max(left + 1, Math.floor(positionToX(position + 1, overview.count, pixels)));
    const value = columns.stale[row] ? 2 : 1;
    for (let x = left; x < right; x += 1) pixelStates[x] = Math.max(pixelStates[x] ?? 0, value);
  }
  return mergePixels(pixelStates);
}

/** Return the left edge of a position on an axis of `width` pixels. */
export function positionToX(position: number, count: number, width: number): number {
  return count === 0 ? 0 : (position / count) * width;
}

/** Return the position under a pixel. */
export function xToPosition(x: number, count: number, width: number): number {
  if (count === 0 || width <= 0) return 0;
  return clamp(Math.floor((x / width) * count), 0, count - 1);
}

export function clamp(value: number, min: number, max: number): number {
  return Math.min(Math.max(value, min), max);
}

/** Return the number of values in an ascending array that are at most `value`. */
export function upperBound(ascending: ArrayLike<number>, value: number): number {
  let low = 0;
  let high = ascending.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((ascending[middle] ?? 0) <= value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Return the nearest number after or before `value` in ascending columns, or null. */
export function findNearest(
  columns: readonly ArrayLike<number>[],
  value: number,
  direction: -1 | 1,
): number | null {
  let best: number | null = null;
  for (const column of columns) {
    const after = upperBound(column, value);
    const index = direction === 1 ? after : upperBound(column, value - 1) - 1;
    const candidate = column[index];
    if (candidate !== undefined && (best === null || direction * (candidate - best) < 0))
      best = candidate;
  }
  return best;
}

/** Ticks of the time axis, at least `minPixels` apart, and their step in seconds. */
export function timeTicks(
  overview: Overview,
  width: number,
  minPixels: number,
): { readonly step: number; readonly ticks: readonly { position: number; seconds: number }[] } {
  const begin = overview.timestamp[0];
  const end = overview.timestamp.at(-1);
  if (begin === undefined || end === undefined || end <= begin) return { step: 1, ticks: [] };
  const step = niceStep(((end - begin) * minPixels) / Math.max(width, 1));
  const ticks: { position: number; seconds: number }[] = [];
  for (let index = Math.ceil(begin / step); index * step <= end; index += 1) {
    const seconds = index * step;
    ticks.push({ position: positionAtTime(overview, seconds), seconds });
  }
  return { step, ticks };
}

const TICK_STEPS = [
  0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200,
  10_800, 21_600, 43_200, 86_400,
];

function niceStep(min: number): number {
  return TICK_STEPS.find((step) => step >= min) ?? Math.ceil(min / 86_400) * 86_400;
}

function positionAtTime(overview: Overview, seconds: number): number {
  const bucket = Math.max(0, upperBound(overview.timestamp, seconds) - 1);
  const start = overview.timestamp[bucket] ?? 0;
  const next = overview.timestamp[bucket + 1];
  const part = next === undefined || next <= start ? 0 : (seconds - start) / (next - start);
  return (bucket + Math.min(part, 1)) * overview.bucket_size;
}

/** Return true if the bucket has consecutive sequences, so that positions in it are exact. */
function isContiguous(overview: Overview, bucket: number): boolean {
  const first = overview.first_sequence[bucket] ?? 0;
  const next = overview.first_sequence[bucket + 1];
  if (next !== undefined) return next - first === overview.bucket_size;
  return overview.gap[bucket] === false;
}

function bucketStarts(overview: Overview, isStart: (bucket: number) => boolean): number[] {
  const starts: number[] = [];
  for (let bucket = 1; bucket < overview.chunk_id.length; bucket += 1) {
    if (isStart(bucket)) starts.push(bucket * overview.bucket_size);
  }
  return starts;
}

function mergePixels(pixelStates: Uint8Array): OverlayMark[] {
  const marks: OverlayMark[] = [];
  let left = 0;
  for (let x = 1; x <= pixelStates.length; x += 1) {
    if (x < pixelStates.length && pixelStates[x] === pixelStates[left]) continue;
    if (pixelStates[left] !== 0) marks.push({ left, right: x, stale: pixelStates[left] === 2 });
    left = x;
  }
  return marks;
}
