import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { advanceClock, type ClockState, nextDecodePosition } from "../src/lib/playbackClock";

const FRAME_SECONDS = 0.04;

function clockState(change: Partial<ClockState>): ClockState {
  return {
    position: 10,
    count: 1000,
    elapsedSeconds: 0,
    speed: 1,
    canDropFrames: true,
    secondsToNext: () => FRAME_SECONDS,
    ...change,
  };
}

const all = () => true;
const none = () => false;

describe("the frame to show", () => {
  test("is the next as soon as it is due", () => {
    expect(advanceClock(clockState({ elapsedSeconds: 0.039 }), all).shown).toBe(10);
    expect(advanceClock(clockState({ elapsedSeconds: 0.041 }), all).shown).toBe(11);
  });

  test("may be slightly late, so that a short wait drops no frame", () => {
    const update = advanceClock(clockState({ elapsedSeconds: 0.13 }), all);
    expect(update.shown).toBe(11);
    expect(update.elapsedSeconds).toBeCloseTo(0.09);
  });

  test("is the first that is not late, else the latest that is ready", () => {
    expect(advanceClock(clockState({ elapsedSeconds: 0.3 }), all).shown).toBe(15);
    expect(advanceClock(clockState({ elapsedSeconds: 0.3 }), (each) => each <= 12).shown).toBe(12);
  });

  test("is always ready", () => {
    expect(advanceClock(clockState({ elapsedSeconds: 0.3 }), none).shown).toBe(10);
    expect(advanceClock(clockState({ elapsedSeconds: 0.3 }), (each) => each === 14).shown).toBe(14);
  });

  test("is the next, however late, if frames may not be dropped", () => {
    const every = clockState({ elapsedSeconds: 0.3, canDropFrames: false });
    expect(advanceClock(every, all).shown).toBe(11);
    expect(advanceClock(every, (each) => each === 14).shown).toBe(10);
  });

  test("does not change while times are unknown", () => {
    const unknown = clockState({ elapsedSeconds: 9, secondsToNext: () => undefined });
    expect(advanceClock(unknown, all)).toMatchObject({ shown: 10, due: 10, latest: 10 });
    expect(advanceClock(unknown, all).elapsedSeconds).toBe(0.5);
  });

  test("is limited to the last at the end", () => {
    expect(advanceClock(clockState({ count: 13, elapsedSeconds: 60 }), none)).toMatchObject({
      due: 12,
      latest: 12,
    });
  });
});

test("the clock reaches the latest position that it reports, and waits there", () => {
  fc.assert(
    fc.property(
      fc.array(fc.double({ min: 0.001, max: 3, noNaN: true }), { minLength: 40, maxLength: 40 }),
      fc.constantFrom(0.25, 1, 4),
      (gaps, speed) => {
        const initial = clockState({
          position: 0,
          count: 40,
          speed,
          secondsToNext: (at) => gaps[at],
        });
        const { latest } = advanceClock(initial, none);
        const { elapsedSeconds } = advanceClock({ ...initial, elapsedSeconds: 1000 }, none);
        expect(latest).toBeGreaterThan(0);
        expect(advanceClock({ ...initial, elapsedSeconds }, none).due).toBe(latest);
      },
    ),
  );
});

describe("the frame to decode next", () => {
  const progress = { position: 10, due: 20, latest: 23, framesPerSecond: 25, canDropFrames: true };

  const rate = (seconds: number) => ({ concurrency: 2, secondsPerFrame: seconds });

  test("is the next while decoding keeps up", () => {
    expect(nextDecodePosition(30, progress, rate(0.2))).toBe(30);
    expect(nextDecodePosition(21, progress, rate(0.02))).toBe(21);
  });

  test("is one that will be in time if decoding is behind", () => {
    expect(nextDecodePosition(15, progress, rate(0.05))).toBe(20);
    expect(nextDecodePosition(15, progress, rate(0.1))).toBe(22);
  });

  test("drops as many as cannot be decoded", () => {
    expect(nextDecodePosition(22, progress, rate(0.16))).toBe(23);
    expect(nextDecodePosition(22, { ...progress, latest: 30 }, rate(0.24))).toBe(25);
  });

  test("is at most the latest position of the clock", () => {
    expect(nextDecodePosition(15, progress, rate(9))).toBe(23);
  });

  test("is the next if frames may not be dropped", () => {
    expect(nextDecodePosition(15, { ...progress, canDropFrames: false }, rate(9))).toBe(15);
  });
});

/** Simulate ten seconds of playback, and return the number of shown frames. */
function play(concurrency: number, secondsPerDecode: number): number {
  const count = 400;
  const tick = 1 / 60;
  const ready = new Set<number>();
  const loading: { position: number; readyAt: number }[] = [];
  let [current, next, elapsedSeconds, shownCount] = [0, 1, 0, 0];
  for (let now = 0; now < 10; now += tick) {
    elapsedSeconds += tick;
    while (loading[0] !== undefined && loading[0].readyAt <= now) {
      ready.add(loading.shift()?.position ?? -1);
    }
    const update = advanceClock(clockState({ position: current, count, elapsedSeconds }), (at) =>
      ready.has(at),
    );
    if (update.shown !== current) shownCount += 1;
    current = update.shown;
    elapsedSeconds = update.elapsedSeconds;
    for (const position of ready) if (position <= current) ready.delete(position);
    next = Math.max(next, current + 1);
    const { due, latest } = update;
    const progress = { position: current, due, latest, framesPerSecond: 25, canDropFrames: true };
    while (loading.length < concurrency && loading.length + ready.size < 12) {
      const position = nextDecodePosition(next, progress, {
        concurrency,
        secondsPerFrame: secondsPerDecode,
      });
      loading.push({ position, readyAt: now + secondsPerDecode });
      next = position + 1;
    }
  }
  return shownCount;
}

describe("in ten seconds of playback", () => {
  test("all frames are shown if decoding is fast enough", () => {
    expect(play(2, 0.06)).toBeGreaterThanOrEqual(245);
    expect(play(3, 0.1)).toBeGreaterThanOrEqual(240);
  });

  test.each([0.1, 0.15, 0.25, 0.4, 0.8])(
    "most decoded frames are shown if a decode takes %s s",
    (seconds) => {
      const decodable = (2 * 10) / (Math.ceil(seconds * 60) / 60);
      expect(play(2, seconds)).toBeGreaterThanOrEqual(0.85 * Math.min(250, decodable) - 2);
    },
  );
});
