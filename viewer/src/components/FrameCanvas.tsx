/** Canvas with the current frame and its overlays, and a note if it is incomplete. */
import { effect, untracked, useComputed, useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { isAbort } from "../api/client";
import { frameDescription } from "../lib/format";
import {
  type Composite,
  drawComposite,
  drawThumbnail,
  loadComposite,
  peekComposite,
} from "../model/composite";
import {
  areOverlaysHidden,
  displayedComposite,
  isPositionRestored,
  loadingFrameCount,
  position,
  startBackgroundWork,
} from "../store/app";
import { findMatchingPosition, peekMatchingPosition, type Side, sideA } from "../store/comparison";
import { isPlaying } from "../store/player";
import { comparison } from "../store/view";

/** If a frame takes longer to load, a thumbnail is shown as a placeholder. */
const THUMBNAIL_DELAY_MILLISECONDS = 40;

export function FrameCanvas({ side }: { side: typeof sideA }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const message = useSignal<string | null>(null);
  const displayed = useSignal<Composite | null>(null);
  /** True while a thumbnail is shown as a placeholder. */
  const isPreview = useSignal(false);

  const showComposite = (composite: Composite, { timeline }: Side) => {
    if (canvas.current === null) return;
    drawComposite(canvas.current, composite);
    message.value = messageFor(composite);
    displayed.value = composite;
    isPreview.value = false;
    if (side === sideA) displayedComposite.value = composite;
    startBackgroundWork();
    void timeline.loadTracks();
  };
  const loadAndShow = async (visibleSide: Side, requested: number, signal: AbortSignal) => {
    const matching = await findMatchingPosition(visibleSide, requested);
    signal.throwIfAborted();
    const showThumbnail = () => {
      const tile = isPlaying.peek() ? null : visibleSide.timeline.spriteTile(matching, signal);
      const size = visibleSide.timeline.detail.peek();
      if (tile === null || size === null || canvas.current === null) return;
      drawThumbnail(canvas.current, tile, size);
      isPreview.value = true;
    };
    let stopThumbnails = () => {};
    const timer = setTimeout(() => {
      stopThumbnails = effect(() => {
        // Run again when the sprite sheet arrives.
        visibleSide.timeline.dataRevision.value;
        untracked(showThumbnail);
      });
    }, THUMBNAIL_DELAY_MILLISECONDS);
    try {
      const composite = await loadComposite(
        visibleSide.timeline,
        matching,
        visibleSide.layers,
        signal,
      );
      signal.throwIfAborted();
      showComposite(composite, visibleSide);
    } finally {
      clearTimeout(timer);
      stopThumbnails();
    }
  };
  const update = () => {
    const currentSide = side.value;
    const requested = position.value;
    comparison.value?.match;
    if (currentSide === null || !isPositionRestored.value || canvas.current === null) return;
    if (currentSide.timeline.detail.value === null) return;
    const visibleSide = areOverlaysHidden.value ? { ...currentSide, layers: [] } : currentSide;
    const wasCached = untracked(() => {
      const matching = peekMatchingPosition(visibleSide, requested);
      if (matching === undefined) return false;
      const cached = peekComposite(visibleSide.timeline, matching, visibleSide.layers);
      if (cached !== null) showComposite(cached, visibleSide);
      return cached !== null;
    });
    if (wasCached) return;
    const abort = new AbortController();
    loadingFrameCount.value = loadingFrameCount.peek() + 1;
    loadAndShow(visibleSide, requested, abort.signal)
      .catch((error: unknown) => {
        if (abort.signal.aborted || isAbort(error)) return;
        message.value = (error as Error).message;
      })
      .finally(() => {
        loadingFrameCount.value = loadingFrameCount.peek() - 1;
      });
    return () => abort.abort();
  };
  // A plain effect runs synchronously. `useSignalEffect` waits for the next animation frame, and would
  // miss positions in between.
  useEffect(() => effect(update), []);
  const label = useComputed(() => {
    const row = displayed.value?.row;
    if (row == null) return "Frame, loading";
    const names =
      displayed.value?.overlays.map(({ layer }) => `${layer.stage} ${layer.name}`) ?? [];
    const overlays = names.length === 0 ? "" : `, with ${names.join(", ")}`;
    return `${side.value?.timeline.timelineId}: ${frameDescription(row.sequence, row.timestamp)}${overlays}`;
  });
  // Signals as attributes change together with the canvas, not with the next render.
  const sequence = useComputed(() => `${displayed.value?.row?.sequence ?? ""}`);
  const overlayCount = useComputed(() => `${displayed.value?.overlays.length ?? 0}`);
  const missingNames = useComputed(() =>
    (displayed.value?.missingLayers ?? []).map(({ stage, name }) => `${stage} ${name}`).join(", "),
  );
  const isComplete = useComputed(
    () => `${displayed.value !== null && !isPreview.value && missingNames.value === ""}`,
  );
  return (
    <div class="picture">
      <canvas
        ref={canvas}
        role="img"
        aria-label={label}
        data-sequence={sequence}
        data-overlays={overlayCount}
        data-whole={isComplete}
        data-preview={isPreview}
      />
      {isPreview.value && <p class="frame-note">Preview, without overlays</p>}
      {!isPreview.value && missingNames.value !== "" && (
        <p class="frame-note" role="status">
          Without {missingNames.value}, which could not be loaded
        </p>
      )}
      {message.value !== null && <p class="frame-problem">{message.value}</p>}
    </div>
  );
}

function messageFor({ row }: Composite): string | null {
  if (row === null) return "No frame is cached here. Rebuild the timeline to restore its frames.";
  if (row.status !== "undecodable") return null;
  return `Frame ${row.sequence} has no picture: ${row.reason}.`;
}

/** Return the canvas on screen if its frame is complete. */
export function findCompleteCanvas(): HTMLCanvasElement | null {
  return document.querySelector<HTMLCanvasElement>(".picture canvas[data-whole=true]");
}
