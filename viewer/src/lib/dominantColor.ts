/** Dominant color of an overlay. */

/** Colors that agree in these highest bits of each channel share a bin of the histogram. */
const BITS_PER_CHANNEL = 4;

/**
 * Return the dominant color of an overlay in CSS notation; null if it is empty.
 *
 * `data` holds red, green, blue and alpha of each pixel. A gray mask is blended as light, so its
 * brightness is the weight of a pixel; otherwise alpha is.
 */
export function dominantColor(data: Uint8ClampedArray, isGrayMask: boolean): string | null {
  const shift = 8 - BITS_PER_CHANNEL;
  const weights = new Float64Array(1 << (3 * BITS_PER_CHANNEL));
  let heaviest = -1;
  for (let offset = 0; offset + 3 < data.length; offset += 4) {
    const weight = weightAt(data, offset, isGrayMask);
    if (weight === 0) continue;
    const bin = binAt(data, offset, shift);
    weights[bin] = (weights[bin] ?? 0) + weight;
    if (heaviest < 0 || (weights[bin] ?? 0) > (weights[heaviest] ?? 0)) heaviest = bin;
  }
  if (heaviest < 0) return null;
  const sums = [0, 0, 0];
  for (let offset = 0; offset + 3 < data.length; offset += 4) {
    const weight = weightAt(data, offset, isGrayMask);
    if (weight === 0 || binAt(data, offset, shift) !== heaviest) continue;
    for (let channel = 0; channel < 3; channel += 1) {
      sums[channel] = (sums[channel] ?? 0) + (data[offset + channel] ?? 0) * weight;
    }
  }
  const total = weights[heaviest] ?? 1;
  return `rgb(${sums.map((sum) => Math.round(sum / total)).join(" ")})`;
}

function weightAt(data: Uint8ClampedArray, offset: number, isGrayMask: boolean): number {
  return data[isGrayMask ? offset : offset + 3] ?? 0;
}

function binAt(data: Uint8ClampedArray, offset: number, shift: number): number {
  const red = (data[offset] ?? 0) >> shift;
  const green = (data[offset + 1] ?? 0) >> shift;
  const blue = (data[offset + 2] ?? 0) >> shift;
  return (red << (2 * BITS_PER_CHANNEL)) | (green << BITS_PER_CHANNEL) | blue;
}
