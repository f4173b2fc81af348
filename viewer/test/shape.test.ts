import { expect, test } from "vitest";
import { frameRatio, pixelRatio } from "../src/pure/shape";

const chunk = (pixel_aspect_ratio: number) => [{ pixel_aspect_ratio }] as never;

test("PAL's frames with pixels of 64:45 are shown at 16:9", () => {
  expect(frameRatio({ width: 720, height: 576, chunks: chunk(64 / 45) })).toBeCloseTo(16 / 9);
});

test("frames that no chunk tells of have square pixels", () => {
  expect(pixelRatio({ chunks: [] })).toBe(1);
  expect(frameRatio({ width: 640, height: 480, chunks: [] })).toBeCloseTo(4 / 3);
});
