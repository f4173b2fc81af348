/** All timelines with a summary of each, filtered by part of their id. */
import { useSignal, useSignalEffect } from "@preact/signals";
import { useRef } from "preact/hooks";
import { getJson, isAbort } from "../api/client";
import { cancelTask, dismissTask, finishedTaskCount, isRunning, tasks } from "../api/tasks";
import type { Summary, Task, TimelineListPage } from "../api/types";
import { formatBytes, formatCount, formatDuration, formatState, pluralize } from "../lib/format";
import { VIDEO_EXTENSIONS } from "../lib/uploadFiles";
import { EMPTY_VIEW } from "../lib/viewUrl";
import { session } from "../store/app";
import { selectDroppedFiles, selectFiles } from "../store/uploadSelection";
import { openTimeline, updateView, view, viewHref } from "../store/view";
import { ThemeButton } from "./ThemeButton";
import { useVirtualList } from "./virtualList";

const PAGE_SIZE = 50;
const ROW_PIXELS = 72;
const SEARCH_DELAY_MILLISECONDS = 150;

export function TimelineList() {
  const timelines = useSignal<readonly Summary[]>([]);
  const nextCursor = useSignal<string | null>(null);
  const isLoaded = useSignal(false);
  const errorMessage = useSignal<string | null>(null);
  const isDraggedOver = useSignal(false);
  const scroller = useRef<HTMLDivElement>(null);
  const pendingRequest = useRef<AbortController | undefined>(undefined);

  const load = async (after: string | null) => {
    pendingRequest.current?.abort();
    const abort = new AbortController();
    pendingRequest.current = abort;
    const cursor = after === null ? "" : `&after=${after}`;
    const query = `q=${encodeURIComponent(view.peek().query)}&limit=${PAGE_SIZE}${cursor}`;
    try {
      const page = await getJson<TimelineListPage>(`api/v1/timelines?${query}`, abort.signal);
      timelines.value = after === null ? page.timelines : [...timelines.peek(), ...page.timelines];
      nextCursor.value = page.next;
      errorMessage.value = null;
      isLoaded.value = true;
    } catch (error) {
      if (!isAbort(error)) errorMessage.value = (error as Error).message;
    }
  };
  useSignalEffect(() => {
    view.value.query;
    finishedTaskCount.value;
    const timer = setTimeout(
      () => void load(null),
      isLoaded.peek() ? SEARCH_DELAY_MILLISECONDS : 0,
    );
    return () => clearTimeout(timer);
  });
  const virtualList = useVirtualList(scroller, timelines.value.length, ROW_PIXELS);
  const last = virtualList.items.at(-1);
  if (
    last !== undefined &&
    last.index >= timelines.value.length - 10 &&
    nextCursor.value !== null
  ) {
    const after = nextCursor.value;
    nextCursor.value = null;
    queueMicrotask(() => void load(after));
  }
  const taskList = [...tasks.value.values()];
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: the button accepts files, too
    <div
      class="list-page"
      data-over={isDraggedOver.value}
      onDragOver={(event) => {
        event.preventDefault();
        isDraggedOver.value = true;
      }}
      onDragLeave={() => {
        isDraggedOver.value = false;
      }}
      onDrop={(event) => {
        event.preventDefault();
        isDraggedOver.value = false;
        selectDroppedFiles(event.dataTransfer);
      }}
    >
      <header class="bar">
        <h1 class="brand">framecache</h1>
        <input
          type="search"
          class="search"
          placeholder="Find a timeline"
          aria-label="Find a timeline by part of its id"
          value={view.value.query}
          onInput={(event) => updateView({ query: event.currentTarget.value })}
        />
        <span class="grow" />
        {session.value?.upload === true && (
          <label class="button primary">
            Extract videos
            <input
              type="file"
              accept={`video/*,${VIDEO_EXTENSIONS.join(",")}`}
              multiple
              class="unseen"
              onChange={(event) => selectFiles(event.currentTarget.files ?? [])}
            />
          </label>
        )}
        <ThemeButton />
      </header>
      <main>
        {taskList.length > 0 && (
          <ul class="tasks" aria-label="Tasks">
            {taskList.map((task) => (
              <TaskRow key={task.task_id} task={task} />
            ))}
          </ul>
        )}
        {errorMessage.value !== null && (
          <div class="problem" role="alert">
            <p>{errorMessage.value}</p>
            <button type="button" onClick={() => void load(null)}>
              Try again
            </button>
          </div>
        )}
        {isLoaded.value && timelines.value.length === 0 && errorMessage.value === null && (
          <EmptyList />
        )}
        {timelines.value.length > 0 && (
          <div class="table-head" aria-hidden="true">
            <span />
            <span>Timeline</span>
            <span>State</span>
            <span class="number">Frames</span>
            <span class="number">Duration</span>
            <span class="number">Size</span>
            <span class="number">Picture</span>
          </div>
        )}
        <div class="scroller" ref={scroller} tabIndex={-1}>
          <ul class="timelines" aria-label="Timelines" style={{ height: `${virtualList.total}px` }}>
            {virtualList.items.map(({ index, start }) => {
              const timeline = timelines.value[index];
              return timeline === undefined ? null : (
                <li
                  key={timeline.timeline_id}
                  style={{ transform: `translateY(${start}px)`, height: `${ROW_PIXELS}px` }}
                >
                  <TimelineRow timeline={timeline} />
                </li>
              );
            })}
          </ul>
        </div>
      </main>
    </div>
  );
}

function TimelineRow({ timeline }: { timeline: Summary }) {
  const id = timeline.timeline_id;
  const task = [...tasks.value.values()].find((each) => each.timeline_id === id && isRunning(each));
  return (
    <a
      class="timeline-row"
      href={viewHref({ ...EMPTY_VIEW, query: view.value.query, timeline: id })}
      onClick={(event) => {
        if (event.ctrlKey || event.metaKey || event.shiftKey) return;
        event.preventDefault();
        openTimeline(id);
      }}
    >
      {timeline.poster === null ? (
        <span class="poster" />
      ) : (
        <img class="poster" src={timeline.poster} alt="" loading="lazy" decoding="async" />
      )}
      <span class="name">
        <strong>{id}</strong>
        <small>
          {timeline.problem ??
            `${pluralize(timeline.chunk_count, "chunk")}, ${timeline.layout ?? "–"}`}
          {timeline.undecodable_count > 0 &&
            `, ${formatCount(timeline.undecodable_count)} undecodable`}
        </small>
      </span>
      <span class="state" data-state={timeline.state}>
        {task === undefined ? stateLabel(timeline) : progressLabel(task)}
      </span>
      <span class="number">{formatCount(timeline.frame_count)}</span>
      <span class="number">{formatDuration(timeline.duration_seconds)}</span>
      <span class="number">{formatBytes(timeline.size_bytes)}</span>
      <span class="number">
        {timeline.width} × {timeline.height}
      </span>
      {task !== undefined && (
        <progress
          max={task.frames_total || 1}
          value={task.frames_done}
          aria-label={`Progress of ${id}`}
        />
      )}
    </a>
  );
}

function TaskRow({ task }: { task: Task }) {
  const running = isRunning(task);
  return (
    <li data-state={task.state}>
      <span>
        {task.kind} <strong>{task.timeline_id}</strong>
      </span>
      {running ? (
        <progress
          max={task.frames_total || 1}
          value={task.frames_done}
          aria-label={`${task.kind} ${task.timeline_id}`}
        />
      ) : (
        <span>{task.problem ?? task.state}</span>
      )}
      <span class="number">{running && progressLabel(task)}</span>
      <button
        type="button"
        class="quiet"
        onClick={() => (running ? void cancelTask(task) : dismissTask(task))}
      >
        {running ? "Cancel" : "Dismiss"}
      </button>
    </li>
  );
}

function EmptyList() {
  const { query } = view.value;
  if (query !== "") {
    return (
      <div class="empty">
        <h2>No timeline has “{query}” in its id</h2>
        <button type="button" onClick={() => updateView({ query: "" })}>
          Show all
        </button>
      </div>
    );
  }
  return (
    <div class="empty">
      <h2>No timelines yet</h2>
      <p>
        {session.value?.upload === true
          ? "Drop a video here, or several in time order, or extract them"
          : "Extract a video"}{" "}
        on the command line:
      </p>
      <pre>framecache extract match-42 video.mp4</pre>
    </div>
  );
}

function stateLabel({ state, ...timeline }: Summary): string {
  if (state !== "partial") return formatState(state);
  return timeline.segment_count === timeline.chunk_count
    ? `${timeline.chunks_cached} of ${timeline.chunk_count} chunks`
    : `${formatCount(timeline.segments_cached)} of ${formatCount(timeline.segment_count)} segments`;
}

function progressLabel({ state, frames_done, frames_total }: Task): string {
  if (state === "queued") return "queued";
  return `${formatCount(frames_done)} of ${frames_total === 0 ? "…" : formatCount(frames_total)}`;
}
