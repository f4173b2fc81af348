/** State shared by all components: timelines, the current frame and dialogs. */
import { batch, computed, effect, type Signal, signal, untracked } from "@preact/signals";
import { getJson, isAbort } from "../api/client";
import { subscribeToTasks } from "../api/tasks";
import type { Session } from "../api/types";
import { frameDescription } from "../lib/format";
import { clamp, findNearest } from "../lib/timelineAxis";
import { isSameStage, type Layer, layerKey, type StageRef } from "../lib/viewUrl";
import type { Composite } from "../model/composite";
import { startDecodeWorker } from "../model/decode";
import { TimelineModel } from "../model/timelineModel";
import { comparison, setLayers, timelineId, updateView, view } from "./view";

/** If a timeline has more overlays than this, none is visible by default. */
const MAX_DEFAULT_LAYERS = 6;

export const session: Signal<Session | null> = signal(null);
export const currentTimeline: Signal<TimelineModel | null> = signal(null);
/** Second timeline of a comparison; null if both sides show the same timeline. */
export const comparedTimeline: Signal<TimelineModel | null> = signal(null);
export const position = signal(0);
export const areOverlaysHidden = signal(false);
export const dialog = signal<"help" | "goTo" | "extract" | null>(null);
export const isMetadataShown = signal(false);
/** Latest announcement to screen readers. */
export const announcement = signal("");
export const notice = signal<string | null>(null);
/** True once the position of the URL is known. Until then, no frame is fetched. */
export const isPositionRestored = signal(false);
/** Number of frame canvases that are loading. */
export const loadingFrameCount = signal(0);
/** Requested sequence after the last frame; null after the next seek. */
export const outOfRangeSequence: Signal<number | null> = signal(null);
/** Composite on screen, on the first side. */
export const displayedComposite: Signal<Composite | null> = signal(null);
/** Latest zoom command. */
export const zoomRequest: Signal<{ readonly to: "fit" | "actualSize" } | null> = signal(null);

export const currentFrame = computed(() => {
  const timeline = currentTimeline.value;
  if (timeline === null) return null;
  timeline.dataRevision.value;
  return timeline.frameInfo(position.value);
});

/** Visible layers, the topmost last. */
export const visibleLayers = computed<readonly Layer[]>(() => {
  const explicit = view.value.layers;
  if (explicit !== null) return explicit;
  const jobs = Object.entries(currentTimeline.value?.detail.value?.jobs ?? {});
  const all = jobs
    .slice(0, 1)
    .flatMap(([job, stages]) =>
      Object.entries(stages).flatMap(([stage, { names }]) =>
        Object.keys(names).map((name) => ({ job, stage, name, opacity: 1, blend: null })),
      ),
    );
  return all.length <= MAX_DEFAULT_LAYERS ? all : [];
});

/** Stages with a visible layer. */
const visibleStages = computed<readonly StageRef[]>(() => {
  const stages: StageRef[] = [];
  for (const { job, stage } of visibleLayers.value) {
    if (!stages.some((each) => isSameStage(each, { job, stage }))) stages.push({ job, stage });
  }
  return stages;
});

let isBackgroundStarted = false;

/** Start work that must not delay the first frame. */
export function startBackgroundWork(): void {
  if (isBackgroundStarted) return;
  isBackgroundStarted = true;
  startDecodeWorker();
  getJson<Session>("api/v1/session").then(
    (response) => {
      session.value = response;
    },
    () => undefined,
  );
  subscribeToTasks();
}

/** Keep the timelines and the position in sync with the URL. */
export function syncWithUrl(): void {
  effect(() => {
    const id = timelineId.value;
    if (id === currentTimeline.peek()?.timelineId) return;
    untracked(() => void replaceTimeline(id));
  });
  effect(() => {
    const id = comparison.value?.timeline ?? null;
    if (id === (comparedTimeline.peek()?.timelineId ?? null)) return;
    untracked(() => {
      comparedTimeline.peek()?.close();
      comparedTimeline.value = id === null ? null : new TimelineModel(id);
      void comparedTimeline.value?.load();
    });
  });
  effect(() => {
    const count = currentTimeline.value?.count ?? 0;
    if (count > 0 && position.value >= count) seekToPosition(count - 1);
  });
  effect(() => {
    const sequence = view.value.sequence;
    const timeline = currentTimeline.value;
    if (timeline === null || !isPositionRestored.value || sequence === null) return;
    untracked(() => {
      if (timeline.frameInfo(position.peek()).sequence === sequence) return;
      if (lastSyncedSequence === sequence) return;
      void seekToSequence(sequence);
    });
  });
  effect(() => {
    const frame = currentFrame.value;
    if (
      frame === null ||
      !frame.exact ||
      !isPositionRestored.value ||
      outOfRangeSequence.value !== null
    )
      return;
    if (frame.sequence === untracked(() => view.value.sequence)) return;
    lastSyncedSequence = frame.sequence;
    updateView({ sequence: frame.sequence });
  });
}

/** Last sequence that was written to or read from the URL, so that it causes no second seek. */
let lastSyncedSequence: number | null = null;

async function replaceTimeline(id: string | null): Promise<void> {
  currentTimeline.peek()?.close();
  const timeline = id === null ? null : new TimelineModel(id);
  batch(() => {
    currentTimeline.value = timeline;
    position.value = 0;
    isPositionRestored.value = false;
    outOfRangeSequence.value = null;
    displayedComposite.value = null;
  });
  if (timeline === null) return;
  await timeline.load();
  const sequence = view.peek().sequence;
  if (sequence !== null && timeline.detail.peek() !== null) {
    lastSyncedSequence = sequence;
    await seekToSequence(sequence);
  }
  if (timeline === currentTimeline.peek()) isPositionRestored.value = true;
}

export async function seekToSequence(sequence: number): Promise<void> {
  const last = currentTimeline.peek()?.detail.peek()?.last_sequence;
  if (last != null && sequence > last) {
    outOfRangeSequence.value = sequence;
    return;
  }
  await seekToResult((timeline) => timeline.findPositionOfSequence(sequence));
}

export async function seekToTime(seconds: number, text: string): Promise<void> {
  await seekToResult((timeline) => timeline.findPositionAtTime(seconds, text));
}

async function seekToResult(find: (timeline: TimelineModel) => Promise<number>): Promise<void> {
  const timeline = currentTimeline.peek();
  if (timeline === null) return;
  try {
    const result = await find(timeline);
    if (timeline === currentTimeline.peek()) seekToPosition(result);
  } catch (error) {
    if (!isAbort(error)) notice.value = (error as Error).message;
  }
}

export function seekToPosition(next: number): void {
  const count = currentTimeline.peek()?.count ?? 0;
  outOfRangeSequence.value = null;
  position.value = clamp(Math.round(next), 0, Math.max(0, count - 1));
}

export function seekBy(frames: number): void {
  seekToPosition(position.peek() + frames);
}

/** Seek to the adjacent frame with an overlay of a visible stage; of any stage if none is visible. */
export async function seekToOverlay(direction: -1 | 1): Promise<void> {
  const timeline = currentTimeline.peek();
  if (timeline === null) return;
  // Right after a seek, the row at this position may not be loaded.
  const sequence =
    currentFrame.peek()?.sequence ?? (await timeline.loadRow(position.peek()))?.sequence;
  if (sequence === undefined || timeline !== currentTimeline.peek()) return;
  const all = [...timeline.overlayIndexes.peek()];
  const stageKeys = visibleStages.peek().map(({ job, stage }) => `${job}/${stage}`);
  const candidates = stageKeys.length === 0 ? all : all.filter(([key]) => stageKeys.includes(key));
  const next = findNearest(
    candidates.map(([, columns]) => columns.sequence),
    sequence,
    direction,
  );
  if (next === null)
    notice.value = `No ${direction === 1 ? "later" : "earlier"} frame has overlays.`;
  else void seekToSequence(next);
}

export function changeOpacity(change: number): void {
  setLayers(
    visibleLayers.peek().map((layer) => ({
      ...layer,
      opacity: Math.round(clamp(layer.opacity + change, 0, 1) * 100) / 100,
    })),
  );
}

/** Show an overlay on top of the others, or hide it. */
export function toggleLayer(stage: StageRef, name: string): void {
  const key = layerKey({ ...stage, name });
  const others = visibleLayers.peek().filter((layer) => layerKey(layer) !== key);
  const added = { job: stage.job, stage: stage.stage, name, opacity: 1, blend: null };
  setLayers(others.length < visibleLayers.peek().length ? others : [...others, added]);
}

/** Announce the frame to screen readers once it no longer changes. */
export function announceFrames(): void {
  const delayMilliseconds = 700;
  effect(() => {
    const frame = currentFrame.value;
    if (frame?.sequence == null || !frame.exact) return;
    const text = frameDescription(frame.sequence, frame.timestamp);
    const timer = setTimeout(() => {
      announcement.value = text;
    }, delayMilliseconds);
    return () => clearTimeout(timer);
  });
}
