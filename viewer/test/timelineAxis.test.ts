import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  bucketRanges,
  chunkBoundaries,
  findNearest,
  type Overview,
  overlayMarks,
  positionOfSequence,
  positionToX,
  sequenceAt,
  timeTicks,
  upperBound,
  xToPosition,
} from "../src/lib/timelineAxis";

/** Overview of these sequences, as the service returns it at 25 frames per second. */
function overviewOf(sequences: readonly number[], bucketSize: number): Overview {
  const starts = sequences.map((_, i) => i).filter((i) => i % bucketSize === 0);
  return {
    count: sequences.length,
    bucket_size: bucketSize,
    first_sequence: starts.map((i) => sequences[i] ?? 0),
    timestamp: starts.map((i) => (sequences[i] ?? 0) / 25),
    chunk_id: starts.map((i) => Math.floor((sequences[i] ?? 0) / 50)),
    undecodable: starts.map(() => 0),
    gap: starts.map((i) =>
      sequences
        .slice(i, i + bucketSize)
        .some((sequence, offset) => sequence !== (sequences[i + offset - 1] ?? -1) + 1),
    ),
    change: starts.map(() => 0),
  };
}

const sequences = fc
  .uniqueArray(fc.nat({ max: 400 }), { minLength: 1, maxLength: 200 })
  .map((list) => list.sort((one, other) => one - other));
const bucketSize = fc.integer({ min: 1, max: 30 });

describe("positions and sequences", () => {
  test("match the index if they are exact", () => {
    fc.assert(
      fc.property(sequences, bucketSize, (list, size) => {
        const overview = overviewOf(list, size);
        list.forEach((sequence, position) => {
          const sequenceEstimate = sequenceAt(overview, position);
          if (sequenceEstimate?.exact) expect(sequenceEstimate.value).toBe(sequence);
          const positionEstimate = positionOfSequence(overview, sequence);
          if (positionEstimate?.exact) expect(positionEstimate.value).toBe(position);
        });
      }),
    );
  });

  test("are exact on a timeline without gaps", () => {
    const overview = overviewOf([...Array(100).keys()], 7);
    expect(sequenceAt(overview, 64)).toEqual({ value: 64, exact: true });
    expect(positionOfSequence(overview, 64)).toEqual({ value: 64, exact: true });
  });
});

describe("the time axis", () => {
  test("converts a position to a pixel and back", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 2000 }),
        fc.integer({ min: 1, max: 3000 }),
        (count, width) => {
          for (const position of [0, Math.floor(count / 2), count - 1]) {
            const x = positionToX(position + 0.5, count, width);
            expect(xToPosition(x, count, width)).toBe(position);
          }
        },
      ),
    );
  });

  test("has ascending ticks with the minimum distance", () => {
    fc.assert(
      fc.property(
        sequences,
        bucketSize,
        fc.integer({ min: 200, max: 3000 }),
        (list, size, width) => {
          const { ticks } = timeTicks(overviewOf(list, size), width, 90);
          expect(ticks.length).toBeLessThanOrEqual(width / 90 + 1);
          for (const [i, tick] of ticks.entries()) {
            expect(tick.position).toBeGreaterThanOrEqual(ticks[i - 1]?.position ?? 0);
            expect(tick.position).toBeLessThanOrEqual(list.length + size);
          }
        },
      ),
    );
  });

  test("has the boundaries of chunks", () => {
    expect(chunkBoundaries(overviewOf([...Array(120).keys()], 10))).toEqual([50, 100]);
  });

  test("merges adjacent buckets into ranges, up to the last frame", () => {
    const overview = overviewOf([...Array(25).keys()], 10);
    expect(bucketRanges(overview, (bucket) => bucket > 0)).toEqual([{ start: 10, stop: 25 }]);
  });
});

describe("overlay marks", () => {
  test("are at most as many as pixels, in order", () => {
    fc.assert(
      fc.property(sequences, bucketSize, fc.integer({ min: 1, max: 300 }), (list, size, width) => {
        const marks = overlayMarks(
          overviewOf(list, size),
          { sequence: list, stale: list.map(() => false) },
          width,
        );
        expect(marks.length).toBeGreaterThan(0);
        expect(marks.length).toBeLessThanOrEqual(width);
        for (const [i, { left, right }] of marks.entries()) {
          expect(right).toBeGreaterThan(left);
          expect(left).toBeGreaterThanOrEqual(marks[i - 1]?.right ?? 0);
          expect(right).toBeLessThanOrEqual(width);
        }
      }),
    );
  });

  test("separate stale overlays from others", () => {
    const overview = overviewOf([0, 1, 2, 3], 1);
    const marks = overlayMarks(overview, { sequence: [0, 1, 2], stale: [false, true, false] }, 8);
    expect(marks).toEqual([
      { left: 0, right: 2, stale: false },
      { left: 2, right: 4, stale: true },
      { left: 4, right: 6, stale: false },
    ]);
  });
});

describe("findNearest and upperBound", () => {
  test("find the same frame as a linear search", () => {
    fc.assert(
      fc.property(fc.array(sequences, { maxLength: 4 }), fc.nat({ max: 400 }), (columns, from) => {
        const all = columns.flat();
        const after = Math.min(...all.filter((each) => each > from));
        const before = Math.max(...all.filter((each) => each < from));
        expect(findNearest(columns, from, 1)).toBe(Number.isFinite(after) ? after : null);
        expect(findNearest(columns, from, -1)).toBe(Number.isFinite(before) ? before : null);
      }),
    );
  });

  test("count the values that are not greater", () => {
    expect([1, 2, 3, 4].map((value) => upperBound([2, 2, 4], value))).toEqual([0, 2, 2, 3]);
  });
});
