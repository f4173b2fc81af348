import { expect, test } from "vitest";
import { dominantColor } from "../src/lib/dominantColor";

const pixels = (...list: [number, number, number, number][]) => new Uint8ClampedArray(list.flat());

test("the most frequent opaque color is the dominant color", () => {
  const drawn = pixels([0, 0, 0, 0], [255, 80, 80, 255], [255, 80, 80, 255], [0, 0, 255, 255]);
  expect(dominantColor(drawn, false)).toBe("rgb(255 80 80)");
});

test("black counts as a color in an overlay, but not in a gray mask", () => {
  const mask = pixels([0, 0, 0, 255], [0, 0, 0, 255], [255, 255, 255, 255]);
  expect(dominantColor(mask, false)).toBe("rgb(0 0 0)");
  expect(dominantColor(mask, true)).toBe("rgb(255 255 255)");
});

test("an empty overlay has no dominant color", () => {
  expect(dominantColor(pixels([9, 9, 9, 0]), false)).toBeNull();
  expect(dominantColor(pixels([0, 0, 0, 255]), true)).toBeNull();
});
