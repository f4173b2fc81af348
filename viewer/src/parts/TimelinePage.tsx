import { useSignalEffect } from "@preact/signals";
import { sendJson } from "../api/client";
import type { Task } from "../api/types";
import type { Opened } from "../data/opened";
import { download } from "../data/pictures";
import { cancel, finishedCount, note, runningTask } from "../data/tasks";
import { formatBytes, formatCount, formatDuration, plural } from "../pure/format";
import { dialog, layers, metadataShown, notice, place, session } from "../state/app";
import { flush, openTimeline, setLayers } from "../state/view";
import { ComparePanel } from "./ComparePanel";
import { Filmstrip } from "./Filmstrip";
import { Layers } from "./Layers";
import { Metadata } from "./Metadata";
import { Scrubber } from "./Scrubber";
import { Stage, shownCanvas } from "./Stage";
import { ThemeButton } from "./ThemeButton";
import { Transport } from "./Transport";

export function TimelinePage({ timeline }: { timeline: Opened }) {
  useSignalEffect(() => {
    if (finishedCount.value > 0) void timeline.refresh();
  });
  const detail = timeline.detail.value;
  const problem = timeline.problem.value;
  const mayWrite = session.value?.scopes.includes("write") === true && !session.value.read_only;
  const task = runningTask(timeline.timelineId);
  return (
    <div class="timeline-page">
      <header class="bar">
        <a
          class="brand"
          href="./"
          onClick={(event) => {
            if (event.ctrlKey || event.metaKey || event.shiftKey) return;
            event.preventDefault();
            openTimeline(null);
          }}
        >
          framecache
        </a>
        <h1 title={timeline.timelineId}>{timeline.timelineId}</h1>
        {detail !== null && (
          <p class="facts">
            <span class="state" data-state={detail.state}>
              {detail.state}
            </span>
            <span>{formatCount(detail.cached_count)} frames</span>
            <span>{formatDuration(detail.duration_seconds)}</span>
            <span>
              {detail.width} × {detail.height}
            </span>
            <span>{formatBytes(detail.size_bytes)}</span>
            <span>{detail.sampling}</span>
            <span>{plural(detail.chunk_count, "chunk")}</span>
          </p>
        )}
        {detail !== null && detail.state !== "complete" && task === undefined && mayWrite && (
          <button type="button" onClick={() => void rebuild(timeline)}>
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
            <button type="button" class="quiet" onClick={() => void cancel(task)}>
              Cancel
            </button>
          </p>
        )}
        <span class="grow" />
        <div class="actions" role="group" aria-label="Do with this view">
          <button type="button" class="quiet" onClick={() => void copyLink()}>
            Copy link
          </button>
          <button type="button" class="quiet" onClick={() => downloadFrame(timeline)}>
            Save frame
          </button>
          <button type="button" class="quiet" onClick={() => downloadShown(timeline)}>
            Save with overlays
          </button>
          <button
            type="button"
            class="quiet"
            aria-pressed={metadataShown.value}
            onClick={() => {
              metadataShown.value = !metadataShown.value;
            }}
          >
            Metadata
          </button>
          <button
            type="button"
            class="quiet"
            title="Look for what jobs have drawn since"
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
      {problem !== null && (
        <div class="problem" role="alert">
          <p>{problem.message}</p>
          <button type="button" onClick={() => void timeline.refresh()}>
            Try again
          </button>
        </div>
      )}
      <main class="work">
        <div class="look">
          <Stage timeline={timeline} />
          {metadataShown.value && <Metadata timeline={timeline} />}
        </div>
        <aside class="side" aria-label="Overlays">
          <Layers timeline={timeline} />
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

/** The address, with the layers written out even where they are the viewer's choice. */
async function copyLink(): Promise<void> {
  setLayers(layers.peek());
  flush();
  try {
    await navigator.clipboard.writeText(location.href);
    notice.value = "Link copied.";
  } catch {
    notice.value = "The browser keeps pages from copying here: copy the address instead.";
  }
}

async function rebuild(timeline: Opened): Promise<void> {
  try {
    note(await sendJson<Task>("POST", `${timeline.path}/rebuild`, {}));
  } catch (error) {
    notice.value = (error as Error).message;
  }
}

async function downloadFrame(timeline: Opened): Promise<void> {
  const sequence = place.peek()?.sequence;
  if (sequence == null) return;
  const response = await fetch(timeline.frameUrl(sequence));
  if (response.ok) download(await response.blob(), `${timeline.timelineId}-${sequence}.jpg`);
  else
    notice.value = `Frame ${sequence} cannot be downloaded: the service answered ${response.status}.`;
}

function downloadShown(timeline: Opened): void {
  const sequence = place.peek()?.sequence;
  shownCanvas()?.toBlob((png) => {
    if (png !== null) download(png, `${timeline.timelineId}-${sequence}-overlays.png`);
  });
}
