/** All timelines: found by a part of their id, with what is known of each. */
import { useSignal, useSignalEffect } from "@preact/signals";
import { useRef } from "preact/hooks";
import { getJson, isAbort } from "../api/client";
import type { Summary, Task, TimelinePage } from "../api/types";
import { cancel, dismiss, finishedCount, isRunning, tasks } from "../data/tasks";
import { EMPTY_VIEW } from "../pure/address";
import { formatBytes, formatCount, formatDuration, plural } from "../pure/format";
import { session } from "../state/app";
import { offer } from "../state/dropped";
import { addressOf, amend, openTimeline, view } from "../state/view";
import { ThemeButton } from "./ThemeButton";
import { useVirtual } from "./virtual";

const PAGE = 50;
const ROW_PIXELS = 72;
const TYPING_MILLISECONDS = 150;

export function TimelineList() {
  const found = useSignal<readonly Summary[]>([]);
  const next = useSignal<string | null>(null);
  const loaded = useSignal(false);
  const problem = useSignal<string | null>(null);
  const over = useSignal(false);
  const scroller = useRef<HTMLDivElement>(null);
  const loading = useRef<AbortController | undefined>(undefined);

  const load = async (after: string | null) => {
    loading.current?.abort();
    const abort = new AbortController();
    loading.current = abort;
    const more = after === null ? "" : `&after=${after}`;
    const query = `q=${encodeURIComponent(view.peek().query)}&limit=${PAGE}${more}`;
    try {
      const page = await getJson<TimelinePage>(`api/timelines?${query}`, abort.signal);
      found.value = after === null ? page.timelines : [...found.peek(), ...page.timelines];
      next.value = page.next;
      problem.value = null;
      loaded.value = true;
    } catch (error) {
      if (!isAbort(error)) problem.value = (error as Error).message;
    }
  };
  useSignalEffect(() => {
    view.value.query;
    finishedCount.value;
    const timer = setTimeout(() => void load(null), loaded.peek() ? TYPING_MILLISECONDS : 0);
    return () => clearTimeout(timer);
  });
  const virtual = useVirtual(scroller, found.value.length, ROW_PIXELS);
  const last = virtual.items.at(-1);
  if (last !== undefined && last.index >= found.value.length - 10 && next.value !== null) {
    const after = next.value;
    next.value = null;
    queueMicrotask(() => void load(after));
  }
  const working = [...tasks.value.values()];
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: files are also taken from the button
    <div
      class="list-page"
      data-over={over.value}
      onDragOver={(event) => {
        event.preventDefault();
        over.value = true;
      }}
      onDragLeave={() => {
        over.value = false;
      }}
      onDrop={(event) => {
        event.preventDefault();
        over.value = false;
        offer(event.dataTransfer?.files[0]);
      }}
    >
      <header class="bar">
        <h1 class="brand">framecache</h1>
        <input
          type="search"
          class="search"
          placeholder="Find a timeline"
          aria-label="Find a timeline by a part of its id"
          value={view.value.query}
          onInput={(event) => amend({ query: event.currentTarget.value })}
        />
        <span class="grow" />
        {session.value?.upload === true && (
          <label class="button primary">
            Extract a video
            <input
              type="file"
              accept="video/*,.mkv,.ts,.mxf"
              class="unseen"
              onChange={(event) => offer(event.currentTarget.files?.[0])}
            />
          </label>
        )}
        <ThemeButton />
      </header>
      <main>
        {working.length > 0 && (
          <ul class="tasks" aria-label="Work that goes on">
            {working.map((task) => (
              <TaskRow key={task.task_id} task={task} />
            ))}
          </ul>
        )}
        {problem.value !== null && (
          <div class="problem" role="alert">
            <p>{problem.value}</p>
            <button type="button" onClick={() => void load(null)}>
              Try again
            </button>
          </div>
        )}
        {loaded.value && found.value.length === 0 && problem.value === null && <Empty />}
        {found.value.length > 0 && (
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
          <ul class="timelines" aria-label="Timelines" style={{ height: `${virtual.total}px` }}>
            {virtual.items.map(({ index, start }) => {
              const timeline = found.value[index];
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
      href={addressOf({ ...EMPTY_VIEW, query: view.value.query, timeline: id })}
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
            `${plural(timeline.chunk_count, "chunk")}, ${timeline.layout ?? "–"}`}
          {timeline.undecodable_count > 0 &&
            `, ${formatCount(timeline.undecodable_count)} undecodable`}
        </small>
      </span>
      <span class="state" data-state={timeline.state}>
        {task === undefined ? stateOf(timeline) : progressOf(task)}
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
      <span class="number">{running && progressOf(task)}</span>
      <button
        type="button"
        class="quiet"
        onClick={() => (running ? void cancel(task) : dismiss(task))}
      >
        {running ? "Cancel" : "Dismiss"}
      </button>
    </li>
  );
}

function Empty() {
  const { query } = view.value;
  if (query !== "") {
    return (
      <div class="empty">
        <h2>No timeline has “{query}” in its id</h2>
        <button type="button" onClick={() => amend({ query: "" })}>
          Show all
        </button>
      </div>
    );
  }
  return (
    <div class="empty">
      <h2>No timelines yet</h2>
      <p>
        {session.value?.upload === true ? "Drop a video here, or extract one" : "Extract a video"}{" "}
        where the store is:
      </p>
      <pre>framecache extract match-42 video.mp4</pre>
    </div>
  );
}

function stateOf({ state, chunks_cached, chunk_count }: Summary): string {
  return state === "partial" ? `${chunks_cached} of ${chunk_count} chunks` : state;
}

function progressOf({ state, frames_done, frames_total }: Task): string {
  if (state === "queued") return "queued";
  return `${formatCount(frames_done)} of ${frames_total === 0 ? "…" : formatCount(frames_total)}`;
}
