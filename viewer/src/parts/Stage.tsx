/** The frame, large, with what was drawn on it; in a comparison, two of them. */
import Panzoom, { type PanzoomObject } from "@panzoom/panzoom";
import { useComputed, useSignal, useSignalEffect } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { isAbort } from "../api/client";
import { type Composite, drawComposite, drawTile, loadComposite } from "../data/composite";
import type { Opened } from "../data/opened";
import { spokenFrame } from "../pure/format";
import { frameRatio, pixelRatio } from "../pure/shape";
import { overlaysHidden, place, placed, position, resets, startBackground } from "../state/app";
import { gain, matching, type Side, sideA, sideB } from "../state/comparing";
import { comparison } from "../state/view";

const BLINK_MILLISECONDS = 600;
const ZOOM_A_WHEEL_STEP = 1.15;
const MOST_ZOOM = 64;
const PIXELS_SHOWN_FROM_ZOOM = 3;
/** A frame that comes within this is waited for; else a thumbnail stands in for it. */
const TILE_MILLISECONDS = 40;

export function Stage({ timeline }: { timeline: Opened }) {
  const stage = useRef<HTMLDivElement>(null);
  const panzoom = useRef<PanzoomObject | undefined>(undefined);
  const swipe = useSignal(50);
  const blinkB = useSignal(false);
  const zoom = useSignal(1);
  const mode = comparison.value?.mode ?? null;
  useZoom(stage, panzoom, zoom, mode !== null);
  useSignalEffect(() => {
    if (comparison.value?.mode !== "blink") return;
    const timer = setInterval(() => {
      blinkB.value = !blinkB.peek();
    }, BLINK_MILLISECONDS);
    return () => clearInterval(timer);
  });
  const ratio = frameRatio(timeline.detail.value);
  const isSquare = pixelRatio(timeline.detail.value) === 1;
  return (
    <section class="stage" aria-label="Frame" ref={stage} data-mode={mode ?? "single"}>
      <div
        class="panes"
        style={{ filter: mode === "difference" ? `brightness(${gain.value})` : "none" }}
      >
        <div class="pane" style={{ "--ratio": ratio }}>
          <div
            class="plane"
            data-pixels={zoom.value >= PIXELS_SHOWN_FROM_ZOOM}
            data-square={isSquare}
          >
            <Picture side={sideA} />
          </div>
          {mode === "side" && <p class="side-label">{sideA.value?.label}</p>}
        </div>
        {mode !== null && (
          <div
            class={mode === "side" ? "pane" : "pane over"}
            hidden={mode === "blink" && !blinkB.value}
            style={{
              "--ratio": ratio,
              clipPath: mode === "swipe" ? `inset(0 0 0 ${swipe.value}%)` : "none",
            }}
          >
            <div
              class="plane"
              data-pixels={zoom.value >= PIXELS_SHOWN_FROM_ZOOM}
              data-square={isSquare}
            >
              <Picture side={sideB} />
            </div>
            {mode === "side" && <p class="side-label">{sideB.value?.label}</p>}
          </div>
        )}
      </div>
      {mode === "swipe" && (
        <>
          <div class="swipe-line" style={{ left: `${swipe.value}%` }} />
          <input
            class="swipe"
            type="range"
            min={0}
            max={100}
            step={0.1}
            value={swipe.value}
            aria-label="Border between the first and the second picture"
            onInput={(event) => {
              swipe.value = event.currentTarget.valueAsNumber;
            }}
          />
          <p class="side-label">{sideA.value?.label}</p>
          <p class="side-label right">{sideB.value?.label}</p>
        </>
      )}
      {mode === "blink" && <p class="side-label">{(blinkB.value ? sideB : sideA).value?.label}</p>}
      {mode === "difference" && (
        <p class="side-label">
          {sideA.value?.label} − {sideB.value?.label}
        </p>
      )}
      {zoom.value > 1 && <output class="zoom">{Math.round(zoom.value * 100)} %</output>}
    </section>
  );
}

function Picture({ side }: { side: typeof sideA }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const problem = useSignal<string | null>(null);
  const shown = useSignal<Composite | null>(null);
  useSignalEffect(() => {
    const side_ = side.value;
    const here = position.value;
    const hide = overlaysHidden.value;
    const match = comparison.value?.match ?? "sequence";
    if (side_ === null || !placed.value || canvas.current === null) return;
    if (side_.timeline.detail.value === null) return;
    const abort = new AbortController();
    const drawn = hide ? { ...side_, layers: [] } : side_;
    paint(canvas.current, drawn, here, match, abort.signal).then(
      (composite) => {
        problem.value = problemOf(composite);
        shown.value = composite;
        startBackground();
        void side_.timeline.loadTracksOnce();
      },
      (error: unknown) => {
        if (abort.signal.aborted || isAbort(error)) return;
        problem.value = (error as Error).message;
      },
    );
    return () => abort.abort();
  });
  const text = useComputed(() => {
    const row = shown.value?.row;
    if (row == null) return "Frame, loading";
    const names = shown.value?.overlays.map(({ layer }) => `${layer.stage} ${layer.name}`) ?? [];
    const overlays = names.length === 0 ? "" : `, with ${names.join(", ")}`;
    return `${side.value?.timeline.timelineId}: ${spokenFrame(row.sequence, row.timestamp)}${overlays}`;
  });
  return (
    <div class="picture">
      <canvas
        ref={canvas}
        role="img"
        aria-label={text.value}
        data-sequence={shown.value?.row?.sequence ?? ""}
        data-overlays={shown.value?.overlays.length ?? 0}
      />
      {problem.value !== null && <p class="frame-problem">{problem.value}</p>}
    </div>
  );
}

async function paint(
  canvas: HTMLCanvasElement,
  side: Side,
  here: number,
  match: "sequence" | "time",
  signal: AbortSignal,
): Promise<Composite> {
  const detail = side.timeline.detail.peek();
  const isFirst = side.timeline === sideA.peek()?.timeline;
  const row = isFirst ? null : await sideA.peek()?.timeline.loadRow(here);
  signal.throwIfAborted();
  const there = row == null ? here : await matching(side.timeline, row, match);
  signal.throwIfAborted();
  const timer = setTimeout(() => {
    const tile = side.timeline.tile(there, signal);
    if (tile !== null && detail !== null) drawTile(canvas, tile, detail);
  }, TILE_MILLISECONDS);
  try {
    const composite = await loadComposite(side.timeline, there, side.layers, signal);
    signal.throwIfAborted();
    drawComposite(canvas, composite);
    return composite;
  } finally {
    clearTimeout(timer);
  }
}

function problemOf({ row }: Composite): string | null {
  if (row === null)
    return "No frame is cached here. Rebuild the timeline to have its frames again.";
  if (row.status === "ok") return null;
  return `Frame ${row.sequence} has no picture: ${row.reason}.`;
}

function useZoom(
  stage: { current: HTMLDivElement | null },
  panzoom: { current: PanzoomObject | undefined },
  zoom: { value: number },
  hasTwo: boolean,
): void {
  const last = useRef({ scale: 1, x: 0, y: 0 });
  useEffect(() => {
    const element = stage.current;
    const planes = [...(element?.querySelectorAll<HTMLElement>(".plane") ?? [])];
    const first = planes[0];
    if (element === null || first === undefined) return;
    const control = Panzoom(first, {
      noBind: true,
      minScale: 1,
      maxScale: MOST_ZOOM,
      panOnlyWhenZoomed: true,
      cursor: "",
      setTransform: (_, { scale, x, y }) => {
        for (const plane of planes) {
          plane.style.transform = `scale(${scale}) translate(${x}px, ${y}px)`;
        }
        last.current = { scale, x, y };
        zoom.value = scale;
      },
      startScale: last.current.scale,
      startX: last.current.x,
      startY: last.current.y,
    });
    panzoom.current = control;
    const wheel = (event: WheelEvent) => {
      event.preventDefault();
      const scale = control.getScale() * ZOOM_A_WHEEL_STEP ** (event.deltaY < 0 ? 1 : -1);
      control.zoomToPoint(scale, onFirst(event, planes), { animate: false });
      if (control.getScale() <= 1) backToFit(control);
    };
    const touching = new Map<number, PointerEvent>();
    const down = (event: PointerEvent) => {
      if ((event.target as HTMLElement).closest(".pane") === null) return;
      touching.set(event.pointerId, event);
      followPinch(control, [...touching.values()]);
      control.handleDown(event);
    };
    const move = (event: PointerEvent) => {
      if (touching.has(event.pointerId)) touching.set(event.pointerId, event);
      control.handleMove(event);
    };
    const up = (event: PointerEvent) => {
      touching.delete(event.pointerId);
      control.handleUp(event);
    };
    const twice = (event: MouseEvent) => {
      if (control.getScale() > 1) backToFit(control);
      else control.zoomToPoint(4, onFirst(event, planes), { animate: false });
    };
    element.addEventListener("wheel", wheel, { passive: false });
    element.addEventListener("pointerdown", down);
    element.addEventListener("dblclick", twice);
    document.addEventListener("pointermove", move);
    document.addEventListener("pointerup", up);
    document.addEventListener("pointercancel", up);
    return () => {
      element.removeEventListener("wheel", wheel);
      element.removeEventListener("pointerdown", down);
      element.removeEventListener("dblclick", twice);
      document.removeEventListener("pointermove", move);
      document.removeEventListener("pointerup", up);
      document.removeEventListener("pointercancel", up);
      control.destroy();
    };
  }, [hasTwo]);
  useSignalEffect(() => {
    if (resets.value > 0) backToFit(panzoom.current);
  });
}

/**
 * The library adds `step` to the zoom for each 80 pixels that fingers move apart. With this step the
 * picture stays under the fingers: it grows as their distance does.
 */
function followPinch(control: PanzoomObject, [a, b]: readonly PointerEvent[]): void {
  if (a === undefined || b === undefined) return;
  const distance = Math.hypot(b.clientX - a.clientX, b.clientY - a.clientY);
  if (distance > 0) control.setOptions({ step: (80 * control.getScale()) / distance });
}

/** Not the library's reset: that would go back to where the last comparison began. */
function backToFit(control: PanzoomObject | undefined): void {
  control?.zoom(1, { animate: false, force: true });
  control?.pan(0, 0, { animate: false, force: true });
}

/** A point over any pane, as the point over the first pane that shows the same of the picture. */
function onFirst(
  event: MouseEvent,
  planes: readonly HTMLElement[],
): { clientX: number; clientY: number } {
  const panes = planes.map((plane) => plane.parentElement?.getBoundingClientRect());
  const first = panes[0];
  const under = panes.find((pane) => pane !== undefined && event.clientX < pane.right) ?? first;
  return {
    clientX: event.clientX - (under?.left ?? 0) + (first?.left ?? 0),
    clientY: event.clientY,
  };
}

/** The picture on screen, for a download. */
export function shownCanvas(): HTMLCanvasElement | null {
  return place.peek() === null ? null : document.querySelector(".picture canvas");
}
