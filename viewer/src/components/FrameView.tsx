/** The current frame with its overlays; in a comparison, both sides. */
import { useSignal, useSignalEffect } from "@preact/signals";
import { useRef } from "preact/hooks";
import { frameAspectRatio, pixelAspectRatio } from "../lib/aspectRatio";
import { formatCount } from "../lib/format";
import type { TimelineModel } from "../model/timelineModel";
import {
  currentFrame,
  displayedComposite,
  outOfRangeSequence,
  seekToPosition,
  seekToSequence,
  zoomRequest,
} from "../store/app";
import { differenceGain, sideA, sideB } from "../store/comparison";
import { isFullScreen, toggleFullScreen } from "../store/fullscreen";
import { comparison } from "../store/view";
import { FrameCanvas } from "./FrameCanvas";
import { PixelReadout } from "./PixelReadout";
import { useZoom, type ZoomState } from "./zoom";

const BLINK_MILLISECONDS = 600;
const MIN_VISIBLE_PIXEL_SIZE = 3;

export function FrameView({ timeline }: { timeline: TimelineModel }) {
  const element = useRef<HTMLElement>(null);
  const swipe = useSignal(50);
  const isBlinkingToB = useSignal(false);
  const mode = comparison.value?.mode ?? null;
  const zoom = useZoom(element, mode !== null);
  useSignalEffect(() => {
    if (comparison.value?.mode !== "blink") return;
    const timer = setInterval(() => {
      isBlinkingToB.value = !isBlinkingToB.peek();
    }, BLINK_MILLISECONDS);
    return () => clearInterval(timer);
  });
  const aspectRatio = frameAspectRatio(timeline.detail.value);
  const planeAttributes = {
    "data-pixels": (zoom.pixelSize.value ?? 0) >= MIN_VISIBLE_PIXEL_SIZE,
    "data-square": pixelAspectRatio(timeline.detail.value) === 1,
  };
  return (
    <section
      class="stage"
      aria-label="Frame"
      ref={element}
      // Focusable, so that focus can return here after a click elsewhere.
      tabIndex={-1}
      data-mode={mode ?? "single"}
    >
      <div
        class="panes"
        style={{ filter: mode === "difference" ? `brightness(${differenceGain.value})` : "none" }}
      >
        <div class="pane" style={{ "--ratio": aspectRatio }}>
          <div class="plane" {...planeAttributes}>
            <FrameCanvas side={sideA} />
          </div>
          {mode === "side" && <p class="side-label">{sideA.value?.label}</p>}
        </div>
        {mode !== null && (
          <div
            class={mode === "side" ? "pane" : "pane over"}
            hidden={mode === "blink" && !isBlinkingToB.value}
            style={{
              "--ratio": aspectRatio,
              clipPath: mode === "swipe" ? `inset(0 0 0 ${swipe.value}%)` : "none",
            }}
          >
            <div class="plane" {...planeAttributes}>
              <FrameCanvas side={sideB} />
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
      {mode === "blink" && (
        <p class="side-label">{(isBlinkingToB.value ? sideB : sideA).value?.label}</p>
      )}
      {mode === "difference" && (
        <p class="side-label">
          {sideA.value?.label} − {sideB.value?.label}
        </p>
      )}
      <Readouts frameView={element} zoom={zoom} />
      {outOfRangeSequence.value !== null && (
        <OutOfRange timeline={timeline} sequence={outOfRangeSequence.value} />
      )}
    </section>
  );
}

interface ReadoutsProps {
  frameView: { readonly current: HTMLElement | null };
  zoom: ZoomState;
}

/** Zoom level and buttons, and the pixel under the pointer. */
function Readouts({ frameView, zoom }: ReadoutsProps) {
  const size = zoom.pixelSize.value;
  return (
    <div class="readouts">
      {size !== null && displayedComposite.value !== null && (
        <output class="zoom" title="Screen pixels for each pixel of the frame">
          {Math.round(size * 100)} %
        </output>
      )}
      <button
        type="button"
        aria-pressed={zoom.isFitted.value}
        title="Fit the frame to the window (r)"
        onClick={() => {
          zoomRequest.value = { to: "fit" };
        }}
      >
        Fit
      </button>
      <button
        type="button"
        aria-pressed={size !== null && Math.abs(size - 1) < 1e-6}
        title="One screen pixel per pixel of the frame (z)"
        onClick={() => {
          zoomRequest.value = { to: "actualSize" };
        }}
      >
        1:1
      </button>
      <button
        type="button"
        aria-pressed={isFullScreen.value}
        title="Full screen (w)"
        onClick={toggleFullScreen}
      >
        Full
      </button>
      <PixelReadout frameView={frameView} />
    </div>
  );
}

/** Message for a requested sequence after the last frame. */
function OutOfRange({ timeline, sequence }: { timeline: TimelineModel; sequence: number }) {
  const last = timeline.detail.value?.last_sequence ?? null;
  const current = currentFrame.value?.sequence ?? null;
  return (
    <div class="beyond" role="alert">
      <h2>There is no frame {formatCount(sequence)}</h2>
      <p>
        {last === null
          ? `${timeline.timelineId} has no frames.`
          : `The last frame of ${timeline.timelineId} is ${formatCount(last)}.`}
      </p>
      <div class="modes">
        {current !== null && current !== last && (
          <button type="button" onClick={() => void seekToSequence(current)}>
            Show frame {formatCount(current)}
          </button>
        )}
        {last !== null && (
          <button
            type="button"
            class="primary"
            onClick={() => seekToPosition(Number.POSITIVE_INFINITY)}
          >
            Show the last frame
          </button>
        )}
      </div>
    </div>
  );
}
