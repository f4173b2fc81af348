/** Frame with its overlays: all are loaded first, then drawn together. */
import type { FrameDetail } from "../api/types";
import type { BlendMode, Layer } from "../lib/viewUrl";
import type { OverlayPicture } from "./pictureCache";
import { frameCache, overlayCache, type SpriteTile, type TimelineModel } from "./timelineModel";

export interface Composite {
  readonly row: FrameDetail | null;
  readonly frame: ImageBitmap | null;
  readonly overlays: readonly { readonly layer: Layer; readonly picture: OverlayPicture }[];
  /** Layers of the frame that could not be loaded. */
  readonly missingLayers: readonly Layer[];
}

/** Return the composite of a position if all its pictures are decoded. Draw it before any await. */
export function peekComposite(
  timeline: TimelineModel,
  position: number,
  layers: readonly Layer[],
): Composite | null {
  const row = timeline.row(position);
  if (row === undefined) return null;
  const frame =
    row.status === "undecodable" ? null : frameCache.peek(timeline.frameUrl(row.sequence));
  if (frame === undefined) return null;
  const overlays: { layer: Layer; picture: OverlayPicture }[] = [];
  for (const layer of layers) {
    const frameOverlays = timeline.overlaysAt(layer, row.sequence);
    if (frameOverlays === null) return null;
    if (!frameOverlays.names.includes(layer.name)) continue;
    const picture = overlayCache.peek(timeline.overlayUrl(layer, layer.name, row.sequence));
    if (picture === undefined) return null;
    overlays.push({ layer, picture });
  }
  return { row, frame, overlays, missingLayers: [] };
}

/** Load the frame at a position with its overlays. */
export async function loadComposite(
  timeline: TimelineModel,
  position: number,
  layers: readonly Layer[],
  signal: AbortSignal,
): Promise<Composite> {
  const row = (await timeline.loadRow(position)) ?? null;
  signal.throwIfAborted();
  if (row === null) return { row, frame: null, overlays: [], missingLayers: [] };
  const [frame, { overlays, missingLayers }] = await Promise.all([
    row.status === "undecodable" ? null : frameCache.get(timeline.frameUrl(row.sequence), signal),
    loadLayers(timeline, row.sequence, layers, signal),
  ]);
  // Closed: the cache evicted the frame while the overlays were loading.
  if (frame?.width === 0) return await loadComposite(timeline, position, layers, signal);
  timeline.markLoaded(position, row.sequence);
  return { row, frame, overlays, missingLayers };
}

export function drawComposite(canvas: HTMLCanvasElement, composite: Composite): void {
  const { row, frame, overlays } = composite;
  const context = canvas.getContext("2d");
  if (context === null || row === null) return;
  resizeCanvas(canvas, row.width, row.height);
  context.globalAlpha = 1;
  context.globalCompositeOperation = "source-over";
  context.clearRect(0, 0, canvas.width, canvas.height);
  if (frame !== null && frame.width > 0) context.drawImage(frame, 0, 0, row.width, row.height);
  for (const { layer, picture } of overlays) {
    if (picture.width === 0) continue;
    context.globalAlpha = layer.opacity;
    context.globalCompositeOperation = compositeOperation(layer.blend, picture.isGrayMask);
    context.drawImage(picture.bitmap, 0, 0, canvas.width, canvas.height);
  }
}

/** Draw a thumbnail as a placeholder until the frame is loaded. */
export function drawThumbnail(
  canvas: HTMLCanvasElement,
  tile: SpriteTile,
  size: { readonly width: number; readonly height: number },
): void {
  const context = canvas.getContext("2d");
  if (context === null || tile.sheet.width === 0) return;
  resizeCanvas(canvas, size.width, size.height);
  context.globalAlpha = 1;
  context.globalCompositeOperation = "source-over";
  const { sheet, x, y, width, height } = tile;
  context.drawImage(sheet, x, y, width, height, 0, 0, canvas.width, canvas.height);
}

/** By default gray masks use `screen`, because opaque black would hide the frame. */
function compositeOperation(
  blend: BlendMode | null,
  isGrayMask: boolean,
): GlobalCompositeOperation {
  const mode = blend ?? (isGrayMask ? "screen" : "normal");
  return mode === "normal" ? "source-over" : mode;
}

/** Load the overlay indexes first, because they list which overlays the frame has. */
async function loadLayers(
  timeline: TimelineModel,
  sequence: number,
  layers: readonly Layer[],
  signal: AbortSignal,
): Promise<Pick<Composite, "overlays" | "missingLayers">> {
  await Promise.all(layers.map((layer) => timeline.loadOverlayIndex(layer)));
  signal.throwIfAborted();
  const presentLayers = layers.filter((layer) => {
    return timeline.overlaysAt(layer, sequence)?.names.includes(layer.name) !== false;
  });
  const pictures = await Promise.all(
    presentLayers.map((layer) => loadLayer(timeline, layer, sequence, signal)),
  );
  const overlays: { layer: Layer; picture: OverlayPicture }[] = [];
  const missingLayers: Layer[] = [];
  for (const [index, layer] of presentLayers.entries()) {
    const picture = pictures[index] ?? null;
    // Closed: the overlays of this frame do not fit into the cache together.
    if (picture === null || picture.width === 0) missingLayers.push(layer);
    else overlays.push({ layer, picture });
  }
  return { overlays, missingLayers };
}

async function loadLayer(
  timeline: TimelineModel,
  layer: Layer,
  sequence: number,
  signal: AbortSignal,
): Promise<OverlayPicture | null> {
  if (timeline.overlaysAt(layer, sequence) === null) return null;
  try {
    return await overlayCache.get(timeline.overlayUrl(layer, layer.name, sequence), signal);
  } catch (error) {
    if (signal.aborted) throw error;
    return null;
  }
}

function resizeCanvas(canvas: HTMLCanvasElement, width: number, height: number): void {
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
}
