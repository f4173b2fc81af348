/** The frames around the one on screen, from sheets of thumbnails. */
import { useSignalEffect } from "@preact/signals";
import { useRef } from "preact/hooks";
import type { Opened } from "../data/opened";
import { pixelRatio } from "../pure/shape";
import { moveBy, moveTo, position } from "../state/app";
import { useHandOver } from "./handover";
import { useWidth } from "./width";

const HEIGHT = 54;
const GAP = 2;

export function Filmstrip({ timeline }: { timeline: Opened }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const width = useWidth(canvas);
  const handOver = useHandOver();
  useSignalEffect(() => {
    const here = position.value;
    const pixels = width.value;
    timeline.arrivals.value;
    if (canvas.current === null || pixels === 0) return;
    draw(canvas.current, timeline, here, pixels, handOver());
  });
  const step = (clientX: number) => {
    const box = canvas.current?.getBoundingClientRect();
    if (box === undefined) return;
    moveBy(Math.round((clientX - box.left - box.width / 2) / pitchOf(timeline)));
  };
  return (
    // biome-ignore lint/a11y/noAriaHiddenOnFocusable: the slider below does the same by keys
    <canvas
      ref={canvas}
      class="filmstrip"
      aria-hidden="true"
      onClick={(event) => step(event.clientX)}
      onWheel={(event) => {
        event.preventDefault();
        moveTo(position.peek() + Math.sign(event.deltaY + event.deltaX));
      }}
    />
  );
}

function pitchOf(timeline: Opened): number {
  const size = timeline.sprites.value ?? timeline.detail.value;
  if (size === null) return HEIGHT;
  const stored =
    "tile_width" in size ? size.tile_width / size.tile_height : size.width / size.height;
  const ratio = stored * pixelRatio(timeline.detail.value);
  return Math.round(HEIGHT * (Number.isFinite(ratio) ? ratio : 16 / 9)) + GAP;
}

function draw(
  canvas: HTMLCanvasElement,
  timeline: Opened,
  here: number,
  width: number,
  signal: AbortSignal,
): void {
  const scale = devicePixelRatio;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(HEIGHT * scale);
  const context = canvas.getContext("2d");
  if (context === null) return;
  context.scale(scale, scale);
  const pitch = pitchOf(timeline);
  const each = pitch - GAP;
  const side = Math.ceil((width / 2 + each) / pitch);
  const middle = Math.round(width / 2 - each / 2);
  const style = getComputedStyle(canvas);
  // From the middle outwards, so that the nearest sheet is asked for first.
  for (let distance = 0; distance <= side; distance += 1) {
    for (const offset of distance === 0 ? [0] : [-distance, distance]) {
      const at = here + offset;
      if (at < 0 || at >= timeline.count) continue;
      const x = middle + offset * pitch;
      const tile = timeline.tile(at, signal);
      if (tile === null) {
        context.fillStyle = style.getPropertyValue("--tile");
        context.fillRect(x, 0, each, HEIGHT);
      } else {
        context.drawImage(tile.sheet, tile.x, tile.y, tile.width, tile.height, x, 0, each, HEIGHT);
      }
      if (timeline.row(at)?.status === "undecodable") {
        context.fillStyle = style.getPropertyValue("--bad");
        context.fillRect(x, HEIGHT - 4, each, 4);
      }
    }
  }
  context.strokeStyle = style.getPropertyValue("--accent");
  context.lineWidth = 2;
  context.strokeRect(middle + 1, 1, each - 2, HEIGHT - 2);
}
