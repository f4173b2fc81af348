/** What the parts of the page share: the opened timelines, the frame, and what is open on top. */
import { batch, computed, effect, type Signal, signal, untracked } from "@preact/signals";
import { getJson, isAbort } from "../api/client";
import type { Session } from "../api/types";
import { Opened } from "../data/opened";
import { follow } from "../data/tasks";
import { type Layer, layerKey, type StageRef, sameStage } from "../pure/address";
import { spokenFrame } from "../pure/format";
import { clamp, nearest } from "../pure/track";
import { amend, comparison, setLayers, timelineId, view } from "./view";

/** With more overlay names than these, none is shown until it is chosen. */
const SHOWN_AT_FIRST = 6;

export const session: Signal<Session | null> = signal(null);
export const opened: Signal<Opened | null> = signal(null);
/** The timeline that the opened one is compared with, where it is another. */
export const other: Signal<Opened | null> = signal(null);
export const position = signal(0);
export const overlaysHidden = signal(false);
export const dialog = signal<"help" | "goTo" | "extract" | null>(null);
export const metadataShown = signal(false);
/** What a screen reader is told, at most now and then. */
export const announcement = signal("");
export const notice = signal<string | null>(null);
/** Whether the position is that of the address: nothing is fetched for another before. */
export const placed = signal(false);
/** Counts wishes to reset zoom and pan. */
export const resets = signal(0);

export const place = computed(() => {
  const timeline = opened.value;
  if (timeline === null) return null;
  timeline.arrivals.value;
  return timeline.place(position.value);
});

/** The layers that are drawn, the topmost last. */
export const layers = computed<readonly Layer[]>(() => {
  const chosen = view.value.layers;
  if (chosen !== null) return chosen;
  const jobs = Object.entries(opened.value?.detail.value?.jobs ?? {});
  const all = jobs
    .slice(0, 1)
    .flatMap(([job, stages]) =>
      Object.entries(stages).flatMap(([stage, { names }]) =>
        Object.keys(names).map((name) => ({ job, stage, name, opacity: 1, blend: null })),
      ),
    );
  return all.length <= SHOWN_AT_FIRST ? all : [];
});

/** Stages with a layer that is drawn. */
export const shownStages = computed<readonly StageRef[]>(() => {
  const stages: StageRef[] = [];
  for (const { job, stage } of layers.value) {
    if (!stages.some((each) => sameStage(each, { job, stage }))) stages.push({ job, stage });
  }
  return stages;
});

let started = false;

/** Begin what can wait until the first picture is on screen. */
export function startBackground(): void {
  if (started) return;
  started = true;
  getJson<Session>("api/session").then(
    (answer) => {
      session.value = answer;
    },
    () => undefined,
  );
  follow();
}

/** Keep the opened timelines those of the address. */
export function keepOpened(): void {
  effect(() => {
    const id = timelineId.value;
    if (id === opened.peek()?.timelineId) return;
    untracked(() => void reopen(id));
  });
  effect(() => {
    const id = comparison.value?.timeline ?? null;
    if (id === (other.peek()?.timelineId ?? null)) return;
    untracked(() => {
      other.peek()?.close();
      other.value = id === null ? null : new Opened(id);
      void other.value?.load();
    });
  });
  effect(() => {
    const count = opened.value?.count ?? 0;
    if (count > 0 && position.value >= count) moveTo(count - 1);
  });
  effect(() => {
    const sequence = view.value.sequence;
    const timeline = opened.value;
    if (timeline === null || !placed.value || sequence === null) return;
    untracked(() => {
      if (timeline.place(position.peek()).sequence === sequence) return;
      if (sought === sequence) return;
      void goToSequence(sequence);
    });
  });
  effect(() => {
    const sequence = place.value;
    if (sequence === null || !sequence.exact || !placed.value) return;
    if (sequence.sequence === untracked(() => view.value.sequence)) return;
    sought = sequence.sequence;
    amend({ sequence: sequence.sequence });
  });
}

/** The sequence that the address was last given, so that it is not gone to again. */
let sought: number | null = null;

async function reopen(id: string | null): Promise<void> {
  opened.peek()?.close();
  const timeline = id === null ? null : new Opened(id);
  batch(() => {
    opened.value = timeline;
    position.value = 0;
    placed.value = false;
  });
  if (timeline === null) return;
  await timeline.load();
  const wanted = view.peek().sequence;
  if (wanted !== null && timeline.detail.peek() !== null) {
    sought = wanted;
    await goToSequence(wanted);
  }
  if (timeline === opened.peek()) placed.value = true;
}

export async function goToSequence(sequence: number): Promise<void> {
  await arrive((timeline) => timeline.findSequence(sequence));
}

export async function goToTime(seconds: number, text: string): Promise<void> {
  await arrive((timeline) => timeline.findTime(seconds, text));
}

async function arrive(find: (timeline: Opened) => Promise<number>): Promise<void> {
  const timeline = opened.peek();
  if (timeline === null) return;
  try {
    const found = await find(timeline);
    if (timeline === opened.peek()) moveTo(found);
  } catch (error) {
    if (!isAbort(error)) notice.value = (error as Error).message;
  }
}

export function moveTo(next: number): void {
  const count = opened.peek()?.count ?? 0;
  position.value = clamp(Math.round(next), 0, Math.max(0, count - 1));
}

export function moveBy(frames: number): void {
  moveTo(position.peek() + frames);
}

/** Go to the next frame with an overlay of a shown stage; of any, if none is shown. */
export async function moveToOverlay(direction: -1 | 1): Promise<void> {
  const timeline = opened.peek();
  if (timeline === null) return;
  // Right after a leap it may not be known yet which frame is here.
  const here = place.peek()?.sequence ?? (await timeline.loadRow(position.peek()))?.sequence;
  if (here === undefined || timeline !== opened.peek()) return;
  const all = [...timeline.columns.peek()];
  const shown = shownStages.peek().map(({ job, stage }) => `${job}/${stage}`);
  const chosen = shown.length === 0 ? all : all.filter(([key]) => shown.includes(key));
  const next = nearest(
    chosen.map(([, columns]) => columns.sequence),
    here,
    direction,
  );
  if (next === null)
    notice.value = `No ${direction === 1 ? "later" : "earlier"} frame has overlays.`;
  else void goToSequence(next);
}

export function changeOpacity(change: number): void {
  setLayers(
    layers.peek().map((layer) => ({
      ...layer,
      opacity: Math.round(clamp(layer.opacity + change, 0, 1) * 100) / 100,
    })),
  );
}

/** Show a name on top of the others, or hide it. */
export function toggleLayer(stage: StageRef, name: string): void {
  const key = layerKey({ ...stage, name });
  const left = layers.peek().filter((layer) => layerKey(layer) !== key);
  const added = { job: stage.job, stage: stage.stage, name, opacity: 1, blend: null };
  setLayers(left.length < layers.peek().length ? left : [...left, added]);
}

/** Tell a screen reader of the frame once it has come to rest. */
export function keepAnnouncing(): void {
  const restMilliseconds = 700;
  effect(() => {
    const here = place.value;
    if (here?.sequence == null || !here.exact) return;
    const text = spokenFrame(here.sequence, here.timestamp);
    const timer = setTimeout(() => {
      announcement.value = text;
    }, restMilliseconds);
    return () => clearTimeout(timer);
  });
}
