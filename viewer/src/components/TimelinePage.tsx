import { useComputed, useSignalEffect } from "@preact/signals";
import { ServiceError, sendJson } from "../api/client";
import { cancelTask, findRunningTask, finishedTaskCount, updateTask } from "../api/tasks";
import type { Task } from "../api/types";
import { formatBytes, formatCount, formatDuration, formatState, pluralize } from "../lib/format";
import type { TimelineModel } from "../model/timelineModel";
import {
  currentFrame,
  dialog,
  isMetadataShown,
  notice,
  session,
  visibleLayers,
} from "../store/app";
import { isFullScreen } from "../store/fullscreen";
import { flushUrl, setLayers } from "../store/view";
import { ComparePanel } from "./ComparePanel";
import { Filmstrip } from "./Filmstrip";
import { findCompleteCanvas } from "./FrameCanvas";
import { FrameView } from "./FrameView";
import { LayerPanel } from "./LayerPanel";
import { Metadata } from "./Metadata";
import { NotFound } from "./NotFound";
import { Scrubber } from "./Scrubber";
import { ThemeButton } from "./ThemeButton";
import { TimelineListLink } from "./TimelineListLink";
import { Transport } from "./Transport";

export function TimelinePage({ timeline }: { timeline: TimelineModel }) {
  useSignalEffect(() => {
    if (finishedTaskCount.value > 0) void timeline.refresh();
  });
  const committed = useComputed(() => findRunningTask(timeline.timelineId)?.segments_done ?? 0);
  useSignalEffect(() => {
    if (committed.value > 0) timeline.refreshSoon();
  });
  const detail = timeline.detail.value;
  const error = timeline.error.value;
  if (detail === null && error instanceof ServiceError && error.status === 404) {
    return <NotFound title={`There is no timeline “${timeline.timelineId}”`} retry={timeline} />;
  }
  const canWrite = session.value?.scopes.includes("write") === true && !session.value.read_only;
  const task = findRunningTask(timeline.timelineId);
  return (
    <div class="timeline-page" data-full={isFullScreen.value}>
      <header class="bar">
        <TimelineListLink class="brand">framecache</TimelineListLink>
        <h1 title={timeline.timelineId}>{timeline.timelineId}</h1>
        {detail !== null && (
          <p class="facts">
            <span class="state" data-state={detail.state}>
              {formatState(detail.state)}
            </span>
            <span>{formatCount(detail.cached_count)} frames</span>
            <span>{formatDuration(detail.duration_seconds)}</span>
            <span>
              {detail.width} × {detail.height}
            </span>
            <span>{formatBytes(detail.size_bytes)}</span>
            <span>{detail.sampling}</span>
            <span>{pluralize(detail.chunk_count, "chunk")}</span>
          </p>
        )}
        {(detail?.state === "partial" || detail?.state === "cleared") &&
          task === undefined &&
          canWrite && (
            <button type="button" onClick={() => void rebuildTimeline(timeline)}>
              Rebuild
            </button>
          )}
        {task !== undefined && (
          <p class="going-on">
            <span>{task.kind}</span>
            <progress
              max={task.frames_total || 1}
              value={task.frames_done}
              aria-label={`${task.kind} of ${task.timeline_id}`}
            />
            <button type="button" class="quiet" onClick={() => void cancelTask(task)}>
              Cancel
            </button>
          </p>
        )}
        <span class="grow" />
        <div class="actions" role="group" aria-label="Actions">
          <button type="button" class="quiet" onClick={() => void copyLink()}>
            Copy link
          </button>
          <button type="button" class="quiet" onClick={() => downloadFrame(timeline)}>
            Save frame
          </button>
          <button type="button" class="quiet" onClick={() => downloadComposite(timeline)}>
            Save with overlays
          </button>
          <button
            type="button"
            class="quiet"
            aria-pressed={isMetadataShown.value}
            onClick={() => {
              isMetadataShown.value = !isMetadataShown.value;
            }}
          >
            Metadata
          </button>
          <button
            type="button"
            class="quiet"
            title="Check for new overlays"
            onClick={() => void timeline.refresh()}
          >
            Refresh
          </button>
        </div>
        <ThemeButton />
        <button
          type="button"
          class="quiet"
          aria-label="Keys"
          onClick={() => {
            dialog.value = "help";
          }}
        >
          ?
        </button>
      </header>
      {error !== null && (
        <div class="problem" role="alert">
          <p>{error.message}</p>
          <button type="button" onClick={() => void timeline.refresh()}>
            Try again
          </button>
        </div>
      )}
      <main class="work">
        <div class="look">
          <FrameView timeline={timeline} />
          {isMetadataShown.value && <Metadata timeline={timeline} />}
        </div>
        <aside class="side" aria-label="Overlays">
          <LayerPanel timeline={timeline} />
          <ComparePanel timeline={timeline} />
        </aside>
        <section class="tracks" aria-label="Timeline">
          <Transport timeline={timeline} />
          <Filmstrip timeline={timeline} />
          <Scrubber timeline={timeline} />
        </section>
      </main>
    </div>
  );
}

/** Copy the URL. Default layers are written into it, so that the link always shows the same. */
async function copyLink(): Promise<void> {
  setLayers(visibleLayers.peek());
  flushUrl();
  try {
    await navigator.clipboard.writeText(location.href);
    notice.value = "Link copied.";
  } catch {
    notice.value = "The browser does not allow copying here: copy the URL instead.";
  }
}

async function rebuildTimeline(timeline: TimelineModel): Promise<void> {
  try {
    updateTask(await sendJson<Task>("POST", `${timeline.path}/rebuild`, {}));
  } catch (error) {
    notice.value = (error as Error).message;
  }
}

async function downloadFrame(timeline: TimelineModel): Promise<void> {
  const sequence = currentFrame.peek()?.sequence;
  if (sequence == null) return;
  const response = await fetch(timeline.frameUrl(sequence));
  if (response.ok) saveBlob(await response.blob(), `${timeline.timelineId}-${sequence}.jpg`);
  else
    notice.value = `Frame ${sequence} cannot be downloaded: the service answered ${response.status}.`;
}

function downloadComposite(timeline: TimelineModel): void {
  const canvas = findCompleteCanvas();
  if (canvas === null) {
    notice.value = "The frame is not on screen with all its overlays yet: try again.";
    return;
  }
  canvas.toBlob((png) => {
    const name = `${timeline.timelineId}-${canvas.dataset["sequence"]}-overlays.png`;
    if (png !== null) saveBlob(png, name);
  });
}

/** Save a blob as a file. The object URL is revoked right after the click. */
function saveBlob(blob: Blob, name: string): void {
  const url = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url));
}
