import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  formatBytes,
  formatCount,
  formatTick,
  formatTime,
  frameDescription,
  parseSeekTarget,
  timeDecimals,
} from "../src/lib/format";

describe("formatTime and formatTick", () => {
  test.each([
    [0, "0:00.000"],
    [4.2, "0:04.200"],
    [83.5, "1:23.500"],
    [59.9996, "1:00.000"],
    [3723.25, "1:02:03.250"],
    [-0.04, "-0:00.040"],
  ])("format %d seconds as %s", (seconds, text) => {
    expect(formatTime(seconds)).toBe(text);
  });

  test("format times that parseSeekTarget parses back", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 10 ** 9 }), (milliseconds) => {
        const seconds = milliseconds / 1000;
        const destination = parseSeekTarget(formatTime(seconds));
        expect(destination?.kind).toBe("time");
        if (destination?.kind === "time") expect(destination.seconds).toBeCloseTo(seconds, 6);
      }),
    );
  });

  test("use more decimals for frames shorter than a millisecond", () => {
    expect(formatTime(0.0004, timeDecimals(0.0004))).toBe("0:00.000400");
    expect(formatTime(59.9999996, timeDecimals(0.0004))).toBe("1:00.000000");
    expect([0, 0.001, 0.04].map(timeDecimals)).toEqual([3, 3, 3]);
  });

  test.each([
    [60, 1, "1:00"],
    [1.5, 0.5, "0:01.5"],
    [1.25, 0.01, "0:01.250"],
  ])("format the tick %d of step %d as %s", (seconds, step, text) => {
    expect(formatTick(seconds, step)).toBe(text);
  });
});

describe("parseSeekTarget", () => {
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
  ])("parses %j", (text, target) => {
    expect(parseSeekTarget(text)).toEqual(target);
  });
});

test("the description of a frame has its sequence and time", () => {
  expect(frameDescription(60, 2.4)).toBe("Frame 60, 2.400 seconds");
});

test.each([
  [0, "0 B"],
  [999, "999 B"],
  [6_455_694, "6.5 MB"],
  [186_908_641, "187 MB"],
])("formats %d bytes as %s", (bytes, text) => {
  expect(formatBytes(bytes)).toBe(text);
});

test("counts have groups of three digits", () => {
  expect(formatCount(99_990)).toBe("99\u202f990");
});
