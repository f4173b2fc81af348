/** State of the view, kept in sync with the page's URL. */
import { computed, signal } from "@preact/signals";
import {
  type Comparison,
  EMPTY_VIEW,
  formatView,
  type Layer,
  parseView,
  type ViewState,
} from "../lib/viewUrl";

export const view = signal<ViewState>(parseView(location.search));
export const timelineId = computed(() => view.value.timeline);
export const comparison = computed(() => view.value.comparison);

/** Debounced, because browsers limit changes of the URL to a few hundred in 30 seconds. */
const URL_UPDATE_MILLISECONDS = 250;
let urlTimer: ReturnType<typeof setTimeout> | undefined;

/** Change the view without a new history entry, for example while scrubbing. */
export function updateView(change: Partial<ViewState>): void {
  view.value = { ...view.peek(), ...change };
  urlTimer ??= setTimeout(flushUrl, URL_UPDATE_MILLISECONDS);
}

/** Change the view with a new history entry. */
function navigate(change: Partial<ViewState>): void {
  flushUrl();
  view.value = { ...view.peek(), ...change };
  history.pushState(null, "", viewHref(view.value));
}

/** Add a history entry before a seek, so that Back returns to its start. */
export function pushHistoryEntry(): void {
  flushUrl();
  history.pushState(null, "", viewHref(view.peek()));
}

export function openTimeline(id: string | null): void {
  navigate({ ...EMPTY_VIEW, query: view.peek().query, timeline: id });
}

export function setComparison(next: Comparison | null): void {
  updateView({ comparison: next });
}

export function setLayers(layers: readonly Layer[]): void {
  updateView({ layers });
}

/** URL of a view on this page. */
export function viewHref(state: ViewState): string {
  return location.pathname + formatView(state);
}

/** Write the view to the URL now. */
export function flushUrl(): void {
  clearTimeout(urlTimer);
  urlTimer = undefined;
  const href = viewHref(view.peek());
  if (href !== location.pathname + location.search) history.replaceState(null, "", href);
}

addEventListener("popstate", () => {
  clearTimeout(urlTimer);
  urlTimer = undefined;
  view.value = parseView(location.search);
});
