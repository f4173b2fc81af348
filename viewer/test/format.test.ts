import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  decimalsOf,
  formatBytes,
  formatCount,
  formatTick,
  formatTime,
  parseDestination,
  spokenFrame,
} from "../src/pure/format";

describe("times", () => {
  test.each([
    [0, "0:00.000"],
    [4.2, "0:04.200"],
    [83.5, "1:23.500"],
    [59.9996, "1:00.000"],
    [3723.25, "1:02:03.250"],
    [-0.04, "-0:00.040"],
  ])("%d seconds read as %s", (seconds, text) => {
    expect(formatTime(seconds)).toBe(text);
  });

  test("are found again by what is shown of them", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 10 ** 9 }), (milliseconds) => {
        const seconds = milliseconds / 1000;
        const destination = parseDestination(formatTime(seconds));
        expect(destination?.kind).toBe("time");
        if (destination?.kind === "time") expect(destination.seconds).toBeCloseTo(seconds, 6);
      }),
    );
  });

  test("of frames that last less than a millisecond have more digits", () => {
    expect(formatTime(0.0004, decimalsOf(0.0004))).toBe("0:00.000400");
    expect(formatTime(59.9999996, decimalsOf(0.0004))).toBe("1:00.000000");
    expect([0, 0.001, 0.04].map(decimalsOf)).toEqual([3, 3, 3]);
  });

  test.each([
    [60, 1, "1:00"],
    [1.5, 0.5, "0:01.5"],
    [1.25, 0.01, "0:01.250"],
  ])("of ticks have no more digits than tell them apart", (seconds, step, text) => {
    expect(formatTick(seconds, step)).toBe(text);
  });
});

describe("a place to go to", () => {
  test.each([
    ["120", { kind: "sequence", sequence: 120 }],
    [" 4.2 ", { kind: "time", seconds: 4.2, text: "4.2" }],
    ["4s", { kind: "time", seconds: 4, text: "4s" }],
    ["4.20 s", { kind: "time", seconds: 4.2, text: "4.20 s" }],
    [".5", { kind: "time", seconds: 0.5, text: ".5" }],
    ["1:23", { kind: "time", seconds: 83, text: "1:23" }],
    ["1:23.5s", { kind: "time", seconds: 83.5, text: "1:23.5s" }],
    ["90:00", { kind: "time", seconds: 5400, text: "90:00" }],
    ["1:02:03.5", { kind: "time", seconds: 3723.5, text: "1:02:03.5" }],
    ["1:75", null],
    ["1:75:00", null],
    ["", null],
    ["frame", null],
    ["-3", null],
    ["1:2:3:4", null],
  ])("%j is understood as meant", (text, destination) => {
    expect(parseDestination(text)).toEqual(destination);
  });
});

test("a frame is spoken with sequence and time", () => {
  expect(spokenFrame(60, 2.4)).toBe("Frame 60, 2.400 seconds");
});

test.each([
  [0, "0 B"],
  [999, "999 B"],
  [6_455_694, "6.5 MB"],
  [186_908_641, "187 MB"],
])("%d bytes are %s", (bytes, text) => {
  expect(formatBytes(bytes)).toBe(text);
});

test("counts stand in groups of three", () => {
  expect(formatCount(99_990)).toBe("99\u202f990");
});
