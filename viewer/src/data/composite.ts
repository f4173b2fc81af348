/** A frame with the layers that are laid over it: loaded whole, then drawn at once. */
import type { FrameDetail } from "../api/types";
import type { Blend, Layer } from "../pure/address";
import { framePictures, type Opened, overlayPictures, type Tile } from "./opened";
import type { OverlayPicture } from "./pictures";

export interface Composite {
  readonly row: FrameDetail | null;
  readonly frame: ImageBitmap | null;
  readonly overlays: readonly { readonly layer: Layer; readonly picture: OverlayPicture }[];
}

/** Load all that is drawn at a position; nothing of another frame is ever mixed in. */
export async function loadComposite(
  timeline: Opened,
  position: number,
  layers: readonly Layer[],
  signal: AbortSignal,
): Promise<Composite> {
  const row = (await timeline.loadRow(position)) ?? null;
  signal.throwIfAborted();
  if (row === null) return { row, frame: null, overlays: [] };
  const [frame, overlays] = await Promise.all([
    row.status === "ok" ? framePictures.get(timeline.frameUrl(row.sequence), signal) : null,
    loadLayers(timeline, row.sequence, layers, signal),
  ]);
  timeline.noteLoaded(position, row.sequence);
  return { row, frame, overlays };
}

export function drawComposite(canvas: HTMLCanvasElement, composite: Composite): void {
  const { row, frame, overlays } = composite;
  const context = canvas.getContext("2d");
  if (context === null || row === null) return;
  resize(canvas, row.width, row.height);
  context.globalAlpha = 1;
  context.globalCompositeOperation = "source-over";
  context.clearRect(0, 0, canvas.width, canvas.height);
  if (frame !== null && frame.width > 0) context.drawImage(frame, 0, 0, row.width, row.height);
  for (const { layer, picture } of overlays) {
    if (picture.width === 0) continue;
    context.globalAlpha = layer.opacity;
    context.globalCompositeOperation = operationOf(layer.blend, picture.isGrayMask);
    context.drawImage(picture.bitmap, 0, 0, canvas.width, canvas.height);
  }
}

/** A small picture in place of the frame, until that has come. */
export function drawTile(
  canvas: HTMLCanvasElement,
  tile: Tile,
  size: { readonly width: number; readonly height: number },
): void {
  const context = canvas.getContext("2d");
  if (context === null || tile.sheet.width === 0) return;
  resize(canvas, size.width, size.height);
  context.globalAlpha = 1;
  context.globalCompositeOperation = "source-over";
  const { sheet, x, y, width, height } = tile;
  context.drawImage(sheet, x, y, width, height, 0, 0, canvas.width, canvas.height);
}

/** A gray mask would hide the frame, so its white is added as light unless asked otherwise. */
function operationOf(blend: Blend | null, isGrayMask: boolean): GlobalCompositeOperation {
  const chosen = blend ?? (isGrayMask ? "screen" : "normal");
  return chosen === "normal" ? "source-over" : chosen;
}

/** Which names a frame has is told by the columns of its stages, which come first. */
async function loadLayers(
  timeline: Opened,
  sequence: number,
  layers: readonly Layer[],
  signal: AbortSignal,
): Promise<Composite["overlays"]> {
  await Promise.all(layers.map((layer) => timeline.loadColumns(layer)));
  signal.throwIfAborted();
  const drawn = layers.filter((layer) => {
    return timeline.drawn(layer, sequence)?.names.includes(layer.name);
  });
  const pictures = await Promise.all(
    drawn.map((layer) => loadLayer(timeline, layer, sequence, signal)),
  );
  return drawn.flatMap((layer, index) => {
    const picture = pictures[index];
    return picture == null ? [] : [{ layer, picture }];
  });
}

async function loadLayer(
  timeline: Opened,
  layer: Layer,
  sequence: number,
  signal: AbortSignal,
): Promise<OverlayPicture | null> {
  try {
    return await overlayPictures.get(timeline.overlayUrl(layer, layer.name, sequence), signal);
  } catch (error) {
    if (signal.aborted) throw error;
    return null;
  }
}

function resize(canvas: HTMLCanvasElement, width: number, height: number): void {
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
}
