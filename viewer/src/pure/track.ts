/** Where things lie on the scrubber: its axis is the position of a frame in the index. */

/** Columns of a timeline's overview: a bucket is a run of `bucket_size` positions. */
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

/** The sequence at a position: exact in buckets without a gap. */
export function sequenceAt(overview: Overview, position: number): Estimate | null {
  const bucket = Math.floor(position / overview.bucket_size);
  const first = overview.first_sequence[bucket];
  if (first === undefined) return null;
  const offset = position - bucket * overview.bucket_size;
  return { value: first + offset, exact: offset === 0 || isWhole(overview, bucket) };
}

/** The position of a sequence, or of the nearest one after it. */
export function positionOf(overview: Overview, sequence: number): Estimate | null {
  if (overview.count === 0) return null;
  const bucket = Math.max(0, countUpTo(overview.first_sequence, sequence) - 1);
  const first = overview.first_sequence[bucket] ?? 0;
  const start = bucket * overview.bucket_size;
  const stop = Math.min(start + overview.bucket_size, overview.count);
  const guess = start + Math.max(0, sequence - first);
  return {
    value: Math.min(guess, stop - 1),
    exact: sequence === first || (sequence >= first && guess < stop && isWhole(overview, bucket)),
  };
}

/** The time at a position, between the starts of buckets on a straight line. */
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

/** Positions at which a chunk begins, but the first. */
export function chunkJoins(overview: Overview): number[] {
  return startsWhere(overview, (i) => overview.chunk_id[i] !== overview.chunk_id[i - 1]);
}

export interface Run {
  /** Positions, half-open. */
  readonly start: number;
  readonly stop: number;
}

/** Runs of buckets that hold something, as positions. */
export function runsOf(overview: Overview, holds: (bucket: number) => boolean): Run[] {
  const runs: { start: number; stop: number }[] = [];
  for (let bucket = 0; bucket < overview.first_sequence.length; bucket += 1) {
    if (!holds(bucket)) continue;
    const start = bucket * overview.bucket_size;
    const stop = Math.min(start + overview.bucket_size, overview.count);
    const last = runs.at(-1);
    if (last !== undefined && last.stop === start) last.stop = stop;
    else runs.push({ start, stop });
  }
  return runs;
}

export interface Mark {
  /** Pixels from the left, half-open; at least one wide. */
  readonly left: number;
  readonly right: number;
  readonly stale: boolean;
}

/**
 * Marks of a stage's frames on a row so many pixels wide. Neighbours share a mark, so there are never
 * more marks than pixels, however many frames there are.
 */
export function markRow(
  overview: Overview,
  columns: { readonly sequence: ArrayLike<number>; readonly stale: ArrayLike<number | boolean> },
  width: number,
): Mark[] {
  if (overview.count === 0 || width < 1) return [];
  const pixels = Math.floor(width);
  const held = new Uint8Array(pixels);
  let bucket = 0;
  for (let row = 0; row < columns.sequence.length; row += 1) {
    const sequence = columns.sequence[row] ?? 0;
    while ((overview.first_sequence[bucket + 1] ?? Infinity) <= sequence) bucket += 1;
    const position = Math.min(
      bucket * overview.bucket_size +
        Math.max(0, sequence - (overview.first_sequence[bucket] ?? 0)),
      Math.min((bucket + 1) * overview.bucket_size, overview.count) - 1,
    );
    const left = Math.min(pixels - 1, Math.floor(xOf(position, overview.count, pixels)));
    const right = Math.max(left + 1, Math.floor(xOf(position + 1, overview.count, pixels)));
    const value = columns.stale[row] ? 2 : 1;
    for (let x = left; x < right; x += 1) held[x] = Math.max(held[x] ?? 0, value);
  }
  return marksOf(held);
}

/** The left edge of a position on an axis so many pixels wide. */
export function xOf(position: number, count: number, width: number): number {
  return count === 0 ? 0 : (position / count) * width;
}

/** The position under a pixel. */
export function positionAtX(x: number, count: number, width: number): number {
  if (count === 0 || width <= 0) return 0;
  return clamp(Math.floor((x / width) * count), 0, count - 1);
}

export function clamp(value: number, least: number, most: number): number {
  return Math.min(Math.max(value, least), most);
}

/** Of ascending numbers, how many are at most `value`. */
export function countUpTo(ascending: ArrayLike<number>, value: number): number {
  let low = 0;
  let high = ascending.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((ascending[middle] ?? 0) <= value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The nearest number after or before `value` in ascending columns, or null. */
export function nearest(
  columns: readonly ArrayLike<number>[],
  value: number,
  direction: -1 | 1,
): number | null {
  let best: number | null = null;
  for (const column of columns) {
    const after = countUpTo(column, value);
    const index = direction === 1 ? after : countUpTo(column, value - 1) - 1;
    const found = column[index];
    if (found !== undefined && (best === null || direction * (found - best) < 0)) best = found;
  }
  return best;
}

/** Ticks of the time axis, at least so many pixels apart: positions, with their text's step. */
export function timeTicks(
  overview: Overview,
  width: number,
  pixelsApart: number,
): { readonly step: number; readonly ticks: readonly { position: number; seconds: number }[] } {
  const begin = overview.timestamp[0];
  const end = overview.timestamp.at(-1);
  if (begin === undefined || end === undefined || end <= begin) return { step: 1, ticks: [] };
  const step = niceStep(((end - begin) * pixelsApart) / Math.max(width, 1));
  const ticks: { position: number; seconds: number }[] = [];
  for (let index = Math.ceil(begin / step); index * step <= end; index += 1) {
    const seconds = index * step;
    ticks.push({ position: positionAtTime(overview, seconds), seconds });
  }
  return { step, ticks };
}

const STEPS = [
  0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200,
  10_800, 21_600, 43_200, 86_400,
];

function niceStep(least: number): number {
  return STEPS.find((step) => step >= least) ?? Math.ceil(least / 86_400) * 86_400;
}

function positionAtTime(overview: Overview, seconds: number): number {
  const bucket = Math.max(0, countUpTo(overview.timestamp, seconds) - 1);
  const start = overview.timestamp[bucket] ?? 0;
  const next = overview.timestamp[bucket + 1];
  const part = next === undefined || next <= start ? 0 : (seconds - start) / (next - start);
  return (bucket + Math.min(part, 1)) * overview.bucket_size;
}

/** Without a gap in the bucket or before the next one, sequences in it follow each other. */
function isWhole(overview: Overview, bucket: number): boolean {
  const first = overview.first_sequence[bucket] ?? 0;
  const next = overview.first_sequence[bucket + 1];
  if (next !== undefined) return next - first === overview.bucket_size;
  return overview.gap[bucket] === false;
}

function startsWhere(overview: Overview, begins: (bucket: number) => boolean): number[] {
  const starts: number[] = [];
  for (let bucket = 1; bucket < overview.chunk_id.length; bucket += 1) {
    if (begins(bucket)) starts.push(bucket * overview.bucket_size);
  }
  return starts;
}

function marksOf(held: Uint8Array): Mark[] {
  const marks: Mark[] = [];
  let left = 0;
  for (let x = 1; x <= held.length; x += 1) {
    if (x < held.length && held[x] === held[left]) continue;
    if (held[left] !== 0) marks.push({ left, right: x, stale: held[left] === 2 });
    left = x;
  }
  return marks;
}
