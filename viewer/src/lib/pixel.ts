/** Conversion between screen coordinates and pixels of a picture. */

interface Box {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

interface Size {
  readonly width: number;
  readonly height: number;
}

/**
 * Return the pixel under a point, or null outside of the picture.
 *
 * `box` is the bounding box of the element. The picture is centered in it, as large as it fits; if
 * `isStretched`, it fills the box.
 */
export function pixelAt(
  box: Box,
  picture: Size,
  isStretched: boolean,
  clientX: number,
  clientY: number,
): { readonly x: number; readonly y: number } | null {
  if (picture.width === 0 || picture.height === 0) return null;
  const scale = Math.min(box.width / picture.width, box.height / picture.height);
  const scaleX = isStretched ? box.width / picture.width : scale;
  const scaleY = isStretched ? box.height / picture.height : scale;
  const left = box.left + (box.width - picture.width * scaleX) / 2;
  const top = box.top + (box.height - picture.height * scaleY) / 2;
  const x = Math.floor((clientX - left) / scaleX);
  const y = Math.floor((clientY - top) / scaleY);
  return x >= 0 && y >= 0 && x < picture.width && y < picture.height ? { x, y } : null;
}

export type Color = readonly [red: number, green: number, blue: number];

/** Absolute difference of two colors, multiplied by `gain`. */
export function colorDifference(a: Color, b: Color, gain: number): Color {
  const [red, green, blue] = a.map((value, channel) =>
    Math.min(255, Math.round(Math.abs(value - (b[channel] ?? 0)) * gain)),
  );
  return [red ?? 0, green ?? 0, blue ?? 0];
}

/** Scale at which one frame pixel is one screen pixel, where 1 fits the frame to the window. */
export function actualSizeScale(
  fittedWidth: number,
  frameWidth: number,
  pixelRatio: number,
): number {
  return fittedWidth > 0 && frameWidth > 0 ? frameWidth / (fittedWidth * pixelRatio) : 1;
}
