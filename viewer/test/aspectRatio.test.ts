import { expect, test } from "vitest";
import { frameAspectRatio, pixelAspectRatio } from "../src/lib/aspectRatio";

const chunk = (pixel_aspect_ratio: number) => [{ pixel_aspect_ratio }] as never;

test("PAL frames with a pixel aspect ratio of 64:45 are displayed at 16:9", () => {
  expect(frameAspectRatio({ width: 720, height: 576, chunks: chunk(64 / 45) })).toBeCloseTo(16 / 9);
});

test("pixels are square if there are no chunks", () => {
  expect(pixelAspectRatio({ chunks: [] })).toBe(1);
  expect(frameAspectRatio({ width: 640, height: 480, chunks: [] })).toBeCloseTo(4 / 3);
});
