/** The shape of pictures on screen. */
import type { components } from "../api/openapi";

type Detail = Pick<components["schemas"]["Detail"], "width" | "height" | "chunks">;

/** Width by height of the pixels of a timeline's frames: that of its first chunk's. */
export function pixelRatio(detail: Pick<Detail, "chunks"> | null): number {
  return detail?.chunks[0]?.pixel_aspect_ratio ?? 1;
}

/** Width by height of a timeline's frames as they are shown. */
export function frameRatio(detail: Detail | null): number {
  if (detail === null || detail.height === 0) return 16 / 9;
  return (detail.width / detail.height) * pixelRatio(detail);
}
