/** Zoom and pan, shared by all panes of the frame view. */
import Panzoom, { type PanzoomObject } from "@panzoom/panzoom";
import { type Signal, useComputed, useSignal, useSignalEffect } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { actualSizeScale } from "../lib/pixel";
import { currentTimeline, zoomRequest } from "../store/app";

const WHEEL_ZOOM_FACTOR = 1.15;
const DOUBLE_CLICK_ZOOM = 4;
/** Maximum number of screen pixels per frame pixel. */
const MAX_PIXEL_SIZE = 64;

export interface ZoomState {
  /** Screen pixels per frame pixel; null before the first layout. */
  readonly pixelSize: Signal<number | null>;
  /** True if the frame fits the window exactly. */
  readonly isFitted: Signal<boolean>;
}

export function useZoom(
  frameView: { current: HTMLElement | null },
  isComparing: boolean,
): ZoomState {
  const lastTransform = useRef({ scale: 1, x: 0, y: 0 });
  const panzoomRef = useRef<PanzoomObject | undefined>(undefined);
  const scale = useSignal(1);
  const fittedWidth = useSignal(0);
  /** Scale of Panzoom at which one frame pixel is one screen pixel. */
  const actualSize = useComputed(() => {
    const frameWidth = currentTimeline.value?.detail.value?.width ?? 0;
    return actualSizeScale(fittedWidth.value, frameWidth, devicePixelRatio);
  });
  useEffect(() => {
    const element = frameView.current;
    const planes = [...(element?.querySelectorAll<HTMLElement>(".plane") ?? [])];
    const first = planes[0];
    if (element === null || first === undefined) return;
    const panzoom = Panzoom(first, {
      noBind: true,
      panOnlyWhenZoomed: true,
      cursor: "",
      setTransform: (_, { scale: scaled, x, y }) => {
        for (const plane of planes) {
          plane.style.transform = `scale(${scaled}) translate(${x}px, ${y}px)`;
        }
        lastTransform.current = { scale: scaled, x, y };
        scale.value = scaled;
      },
      startScale: lastTransform.current.scale,
      startX: lastTransform.current.x,
      startY: lastTransform.current.y,
    });
    panzoomRef.current = panzoom;
    const observer = new ResizeObserver(() => {
      fittedWidth.value = first.offsetWidth;
      panzoom.setOptions({
        minScale: Math.min(1, actualSize.peek()),
        maxScale: Math.max(1, actualSize.peek() * MAX_PIXEL_SIZE),
      });
    });
    observer.observe(first);
    const handleWheel = (event: WheelEvent) => {
      event.preventDefault();
      const scaled = panzoom.getScale() * WHEEL_ZOOM_FACTOR ** (event.deltaY < 0 ? 1 : -1);
      panzoom.zoomToPoint(scaled, toFirstPane(event, planes), { animate: false });
      if (panzoom.getScale() <= 1) center(panzoom);
    };
    const activePointers = new Map<number, PointerEvent>();
    const handlePointerDown = (event: PointerEvent) => {
      if ((event.target as HTMLElement).closest(".pane") === null) return;
      activePointers.set(event.pointerId, event);
      setPinchStep(panzoom, [...activePointers.values()]);
      panzoom.handleDown(event);
    };
    const handlePointerMove = (event: PointerEvent) => {
      if (activePointers.has(event.pointerId)) activePointers.set(event.pointerId, event);
      panzoom.handleMove(event);
    };
    const handlePointerUp = (event: PointerEvent) => {
      activePointers.delete(event.pointerId);
      panzoom.handleUp(event);
    };
    const handleDoubleClick = (event: MouseEvent) => {
      if ((event.target as HTMLElement).closest(".pane") === null) return;
      if (panzoom.getScale() > 1) resetToFit(panzoom);
      else panzoom.zoomToPoint(DOUBLE_CLICK_ZOOM, toFirstPane(event, planes), { animate: false });
    };
    element.addEventListener("wheel", handleWheel, { passive: false });
    element.addEventListener("pointerdown", handlePointerDown);
    element.addEventListener("dblclick", handleDoubleClick);
    document.addEventListener("pointermove", handlePointerMove);
    document.addEventListener("pointerup", handlePointerUp);
    document.addEventListener("pointercancel", handlePointerUp);
    return () => {
      observer.disconnect();
      element.removeEventListener("wheel", handleWheel);
      element.removeEventListener("pointerdown", handlePointerDown);
      element.removeEventListener("dblclick", handleDoubleClick);
      document.removeEventListener("pointermove", handlePointerMove);
      document.removeEventListener("pointerup", handlePointerUp);
      document.removeEventListener("pointercancel", handlePointerUp);
      panzoom.destroy();
    };
  }, [isComparing]);
  useSignalEffect(() => {
    const request = zoomRequest.value;
    if (request === null || panzoomRef.current === undefined) return;
    const isActualSize = Math.abs(lastTransform.current.scale - actualSize.peek()) < 1e-6;
    if (request.to === "fit" || isActualSize) resetToFit(panzoomRef.current);
    else {
      panzoomRef.current.zoom(actualSize.peek(), { animate: false, force: true });
      if (actualSize.peek() <= 1) center(panzoomRef.current);
    }
  });
  return {
    pixelSize: useComputed(() => (fittedWidth.value === 0 ? null : scale.value / actualSize.value)),
    isFitted: useComputed(() => scale.value === 1),
  };
}

/**
 * Panzoom adds `step` to the scale for each 80 pixels that fingers move apart. This step makes the
 * picture grow in proportion to their distance, so that it stays under the fingers.
 */
function setPinchStep(panzoom: PanzoomObject, [a, b]: readonly PointerEvent[]): void {
  if (a === undefined || b === undefined) return;
  const distance = Math.hypot(b.clientX - a.clientX, b.clientY - a.clientY);
  if (distance > 0) panzoom.setOptions({ step: (80 * panzoom.getScale()) / distance });
}

/** Panzoom's own reset would restore the transform with which this comparison started. */
function resetToFit(panzoom: PanzoomObject): void {
  panzoom.zoom(1, { animate: false, force: true });
  center(panzoom);
}

function center(panzoom: PanzoomObject): void {
  panzoom.pan(0, 0, { animate: false, force: true });
}

/** Translate a point over any pane to the same point over the first pane, which Panzoom controls. */
function toFirstPane(
  event: MouseEvent,
  planes: readonly HTMLElement[],
): { clientX: number; clientY: number } {
  const panes = planes.map((plane) => plane.parentElement?.getBoundingClientRect());
  const first = panes[0];
  const paneUnderPointer =
    panes.find((pane) => pane !== undefined && event.clientX < pane.right) ?? first;
  return {
    clientX: event.clientX - (paneUnderPointer?.left ?? 0) + (first?.left ?? 0),
    clientY: event.clientY,
  };
}
