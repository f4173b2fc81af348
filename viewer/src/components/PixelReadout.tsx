/** Coordinates and displayed color of the pixel under the pointer. */
import { useSignal, useSignalEffect } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { type Color, colorDifference, pixelAt } from "../lib/pixel";
import { displayedComposite } from "../store/app";
import { differenceGain } from "../store/comparison";
import { comparison } from "../store/view";

interface Pixel {
  readonly x: number;
  readonly y: number;
  readonly color: Color | null;
}

export function PixelReadout({
  frameView,
}: {
  frameView: { readonly current: HTMLElement | null };
}) {
  const pointer = useSignal<PointerEvent | null>(null);
  const pixel = useSignal<Pixel | null>(null);
  useEffect(() => {
    const element = frameView.current;
    if (element === null) return;
    const setPointer = (event: PointerEvent) => {
      pointer.value = event;
    };
    const clearPointer = () => {
      pointer.value = null;
    };
    element.addEventListener("pointermove", setPointer);
    element.addEventListener("pointerdown", setPointer);
    element.addEventListener("pointerleave", clearPointer);
    return () => {
      element.removeEventListener("pointermove", setPointer);
      element.removeEventListener("pointerdown", setPointer);
      element.removeEventListener("pointerleave", clearPointer);
    };
  }, []);
  useSignalEffect(() => {
    const event = pointer.value;
    // Update when the frame changes, even if the pointer does not move.
    displayedComposite.value;
    comparison.value;
    differenceGain.value;
    const request = requestAnimationFrame(() => {
      pixel.value = event === null ? null : pixelUnder(event);
    });
    return () => cancelAnimationFrame(request);
  });
  if (pixel.value === null) return null;
  const { x, y, color } = pixel.value;
  return (
    <output class="pointed" title="Pixel under the pointer: x, y, red, green, blue">
      {color !== null && <i style={{ background: `rgb(${color.join(" ")})` }} />}
      <span>
        x {x} y {y}
      </span>
      {color !== null && <span>RGB {color.join(" ")}</span>}
    </output>
  );
}

function pixelUnder(event: PointerEvent): Pixel | null {
  const canvas = event.target;
  if (!(canvas instanceof HTMLCanvasElement)) return null;
  const isStretched = canvas.closest("[data-square=false]") !== null;
  const box = canvas.getBoundingClientRect();
  const coordinates = pixelAt(box, canvas, isStretched, event.clientX, event.clientY);
  if (coordinates === null) return null;
  return { ...coordinates, color: displayedColorAt(canvas, coordinates) };
}

/** Displayed color of a pixel; in difference mode, that of the difference. */
function displayedColorAt(
  canvas: HTMLCanvasElement,
  pixel: { x: number; y: number },
): Color | null {
  const color = canvasColorAt(canvas, pixel);
  if (comparison.peek()?.mode !== "difference") return color;
  const canvases = canvas.closest(".panes")?.querySelectorAll("canvas") ?? [];
  const other = [...canvases].find((each) => each !== canvas);
  const size = { width: other?.width, height: other?.height };
  if (size.width !== canvas.width || size.height !== canvas.height) return null;
  const otherColor = other === undefined ? null : canvasColorAt(other, pixel);
  return color === null || otherColor === null
    ? null
    : colorDifference(color, otherColor, differenceGain.peek());
}

function canvasColorAt(
  canvas: HTMLCanvasElement,
  { x, y }: { x: number; y: number },
): Color | null {
  // The colors of a thumbnail differ from those of the frame.
  if (canvas.dataset["sequence"] === "" || canvas.dataset["preview"] === "true") return null;
  const data = canvas.getContext("2d")?.getImageData(x, y, 1, 1).data;
  const [red, green, blue] = data ?? [];
  if (red === undefined || green === undefined || blue === undefined) return null;
  return [red, green, blue];
}
