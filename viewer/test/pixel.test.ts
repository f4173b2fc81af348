import { describe, expect, test } from "vitest";
import { actualSizeScale, colorDifference, pixelAt } from "../src/lib/pixel";

const box = { left: 100, top: 50, width: 400, height: 200 };

describe("pixelAt", () => {
  test("returns pixels from the top left corner of the picture", () => {
    const picture = { width: 800, height: 400 };
    expect(pixelAt(box, picture, false, 100, 50)).toEqual({ x: 0, y: 0 });
    expect(pixelAt(box, picture, false, 300.4, 150.4)).toEqual({ x: 400, y: 200 });
    expect(pixelAt(box, picture, false, 499.9, 249.9)).toEqual({ x: 799, y: 399 });
  });

  test("returns null outside of the picture", () => {
    const picture = { width: 800, height: 400 };
    expect(pixelAt(box, picture, false, 99, 60)).toBeNull();
    expect(pixelAt(box, picture, false, 500, 60)).toBeNull();
  });

  test("returns null on the bars around a picture of another aspect ratio", () => {
    const square = { width: 100, height: 100 };
    expect(pixelAt(box, square, false, 150, 150)).toBeNull();
    expect(pixelAt(box, square, false, 201, 150)).toEqual({ x: 0, y: 50 });
  });

  test("scales both directions of a stretched picture separately", () => {
    expect(pixelAt(box, { width: 100, height: 100 }, true, 499, 51)).toEqual({ x: 99, y: 0 });
  });
});

test("1280 pixels in 640 CSS pixels are at 1:1 with 2 device pixels per CSS pixel", () => {
  expect(actualSizeScale(640, 1280, 2)).toBe(1);
  expect(actualSizeScale(640, 1280, 1)).toBe(2);
});

test("colorDifference multiplies by the gain, up to 255", () => {
  expect(colorDifference([255, 80, 10], [55, 90, 10], 1)).toEqual([200, 10, 0]);
  expect(colorDifference([255, 80, 10], [55, 90, 10], 4)).toEqual([255, 40, 0]);
});
