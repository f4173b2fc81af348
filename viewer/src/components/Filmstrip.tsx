/** Thumbnails of the frames around the current one, drawn from sprite sheets. */
import { useSignalEffect } from "@preact/signals";
import { useRef } from "preact/hooks";
import { pixelAspectRatio } from "../lib/aspectRatio";
import type { TimelineModel } from "../model/timelineModel";
import { position, seekBy, seekToPosition } from "../store/app";
import { useRedrawSignal, useWidth } from "./hooks";

const HEIGHT = 54;
const GAP = 2;

export function Filmstrip({ timeline }: { timeline: TimelineModel }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const width = useWidth(canvas);
  const redrawSignal = useRedrawSignal();
  useSignalEffect(() => {
    const current = position.value;
    const pixels = width.value;
    timeline.dataRevision.value;
    if (canvas.current === null || pixels === 0) return;
    drawFilmstrip(canvas.current, timeline, current, pixels, redrawSignal());
  });
  const handleClick = (clientX: number) => {
    const box = canvas.current?.getBoundingClientRect();
    if (box === undefined) return;
    seekBy(Math.round((clientX - box.left - box.width / 2) / tilePitch(timeline)));
  };
  return (
    // biome-ignore lint/a11y/noAriaHiddenOnFocusable: the slider below has the same keys
    <canvas
      ref={canvas}
      class="filmstrip"
      aria-hidden="true"
      onClick={(event) => handleClick(event.clientX)}
      onWheel={(event) => {
        event.preventDefault();
        seekToPosition(position.peek() + Math.sign(event.deltaY + event.deltaX));
      }}
    />
  );
}

function tilePitch(timeline: TimelineModel): number {
  const size = timeline.sprites.value ?? timeline.detail.value;
  if (size === null) return HEIGHT;
  const storedRatio =
    "tile_width" in size ? size.tile_width / size.tile_height : size.width / size.height;
  const ratio = storedRatio * pixelAspectRatio(timeline.detail.value);
  return Math.round(HEIGHT * (Number.isFinite(ratio) ? ratio : 16 / 9)) + GAP;
}

function drawFilmstrip(
  canvas: HTMLCanvasElement,
  timeline: TimelineModel,
  current: number,
  width: number,
  signal: AbortSignal,
): void {
  const scale = devicePixelRatio;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(HEIGHT * scale);
  const context = canvas.getContext("2d");
  if (context === null) return;
  context.scale(scale, scale);
  const pitch = tilePitch(timeline);
  const tileWidth = pitch - GAP;
  const tilesPerSide = Math.ceil((width / 2 + tileWidth) / pitch);
  const middle = Math.round(width / 2 - tileWidth / 2);
  const style = getComputedStyle(canvas);
  // Outwards from the center, so that the nearest sheet is requested first.
  for (let distance = 0; distance <= tilesPerSide; distance += 1) {
    for (const offset of distance === 0 ? [0] : [-distance, distance]) {
      const position = current + offset;
      if (position < 0 || position >= timeline.count) continue;
      const x = middle + offset * pitch;
      const tile = timeline.spriteTile(position, signal);
      if (tile === null) {
        context.fillStyle = style.getPropertyValue("--tile");
        context.fillRect(x, 0, tileWidth, HEIGHT);
      } else {
        context.drawImage(
          tile.sheet,
          tile.x,
          tile.y,
          tile.width,
          tile.height,
          x,
          0,
          tileWidth,
          HEIGHT,
        );
      }
      if (timeline.row(position)?.status === "undecodable") {
        context.fillStyle = style.getPropertyValue("--bad");
        context.fillRect(x, HEIGHT - 4, tileWidth, 4);
      }
    }
  }
  context.strokeStyle = style.getPropertyValue("--accent");
  context.lineWidth = 2;
  context.strokeRect(middle + 1, 1, tileWidth - 2, HEIGHT - 2);
}
