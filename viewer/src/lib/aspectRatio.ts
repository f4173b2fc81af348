/** Aspect ratios of frames and their pixels. */
import type { components } from "../api/openapi";

type Detail = Pick<components["schemas"]["Detail"], "width" | "height" | "chunks">;

/** Width divided by height of a pixel, from the first chunk. */
export function pixelAspectRatio(detail: Pick<Detail, "chunks"> | null): number {
  return detail?.chunks[0]?.pixel_aspect_ratio ?? 1;
}

/** Width divided by height of a frame as it is displayed. */
export function frameAspectRatio(detail: Detail | null): number {
  if (detail === null || detail.height === 0) return 16 / 9;
  return (detail.width / detail.height) * pixelAspectRatio(detail);
}
