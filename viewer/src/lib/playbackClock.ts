/** Choice of the frames to show and to decode next, from a clock and the frames' timestamps. */

/** Maximum delay of a shown frame, if frames may be dropped. */
const MAX_DELAY_SECONDS = 0.1;
/** Maximum lead of the clock over the shown frame: then the clock waits for frames to load. */
const MAX_SKIP_SECONDS = 0.5;

export interface ClockState {
  /** Position of the shown frame. */
  readonly position: number;
  readonly count: number;
  /** Seconds of video since the shown frame was due. */
  readonly elapsedSeconds: number;
  /** Seconds of video per second. */
  readonly speed: number;
  /** True if frames may be dropped to keep up with the clock. */
  readonly canDropFrames: boolean;
  /** Seconds of video from a position to the next; undefined if not known yet. */
  readonly secondsToNext: (position: number) => number | undefined;
}

export interface ClockUpdate {
  /** Position that is due now. */
  readonly due: number;
  /** Last position that becomes due before the clock waits. */
  readonly latest: number;
  /** Position to show; unchanged if no later frame is ready. */
  readonly shown: number;
  /** Seconds of video since that frame was due. */
  readonly elapsedSeconds: number;
}

/** Return the position that is due, and the frame to show for it. */
export function advanceClock(
  clock: ClockState,
  isReady: (position: number) => boolean,
): ClockUpdate {
  const { position: current, elapsedSeconds, speed, canDropFrames } = clock;
  const maxDelay = MAX_DELAY_SECONDS * speed;
  const elapsed = framesWithin(clock, current, elapsedSeconds).slice(
    0,
    canDropFrames ? undefined : 1,
  );
  const ready = elapsed.filter(({ position }) => isReady(position));
  const next = ready.find(({ seconds }) => elapsedSeconds - seconds <= maxDelay) ?? ready.at(-1);
  const shown = next?.position ?? current;
  const maxElapsed = maxElapsedSeconds(clock, shown);
  const due = elapsed.at(-1)?.position ?? current;
  return {
    due,
    latest: Math.max(due, framesWithin(clock, shown, maxElapsed).at(-1)?.position ?? shown),
    shown,
    elapsedSeconds: Math.min(elapsedSeconds - (next?.seconds ?? 0), maxElapsed),
  };
}

/** Positions that become due within `maxSeconds` after `start`, each with its offset in seconds. */
function framesWithin(
  { count, secondsToNext }: ClockState,
  start: number,
  maxSeconds: number,
): { readonly position: number; readonly seconds: number }[] {
  const frames = [];
  let seconds = 0;
  for (let position = start + 1; position < count; position += 1) {
    seconds += secondsToNext(position - 1) ?? Number.POSITIVE_INFINITY;
    if (seconds > maxSeconds) break;
    frames.push({ position, seconds });
  }
  return frames;
}

/** Maximum lead of the clock over a frame, in seconds of video. */
function maxElapsedSeconds(
  { canDropFrames, speed, secondsToNext }: ClockState,
  position: number,
): number {
  const seconds = secondsToNext(position) ?? 0;
  return canDropFrames ? Math.max(seconds, MAX_SKIP_SECONDS * speed) : seconds;
}

export interface PlaybackProgress extends Pick<ClockUpdate, "due" | "latest"> {
  /** Position of the shown frame. */
  readonly position: number;
  readonly framesPerSecond: number;
  readonly canDropFrames: boolean;
}

/** Measured speed of decoding. */
export interface DecodeRate {
  readonly concurrency: number;
  /** Duration of one decode while others run in parallel. */
  readonly secondsPerFrame: number;
}

/**
 * Return the position to decode next, at or after `next`. If decoding falls behind the clock, frames
 * are dropped evenly, and frames that would be late are not decoded.
 */
export function nextDecodePosition(
  next: number,
  progress: PlaybackProgress,
  rate: DecodeRate,
): number {
  const { due, latest, framesPerSecond, canDropFrames } = progress;
  if (!canDropFrames) return next;
  const framesPerDecode = rate.secondsPerFrame * framesPerSecond;
  const earliestInTime =
    due + Math.ceil(Math.max(0, framesPerDecode - (MAX_DELAY_SECONDS * framesPerSecond) / 2));
  if (next > due + Math.ceil(framesPerDecode)) return next;
  // Frames that pass during one decode, divided among the concurrent decodes.
  const step = Math.max(1, Math.round(framesPerDecode / rate.concurrency));
  return Math.max(next, Math.min(Math.max(earliestInTime, next - 1 + step), latest));
}
