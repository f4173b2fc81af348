/** The view's state and the page's address, which tell the same at all times. */
import { computed, signal } from "@preact/signals";
import {
  type Comparison,
  EMPTY_VIEW,
  formatView,
  type Layer,
  parseView,
  type ViewState,
} from "../pure/address";

export const view = signal<ViewState>(parseView(location.search));
export const timelineId = computed(() => view.value.timeline);
export const comparison = computed(() => view.value.comparison);

/** Browsers refuse more than some hundred changes of the address in half a minute. */
const ADDRESS_MILLISECONDS = 250;
let writing: ReturnType<typeof setTimeout> | undefined;

/** Change the view where it is: scrubbing, layers, opacity. */
export function amend(change: Partial<ViewState>): void {
  view.value = { ...view.peek(), ...change };
  writing ??= setTimeout(flush, ADDRESS_MILLISECONDS);
}

/** Go to another view; the browser's Back leads to this one. */
export function navigate(change: Partial<ViewState>): void {
  flush();
  view.value = { ...view.peek(), ...change };
  history.pushState(null, "", addressOf(view.value));
}

/** Before a leap: the browser's Back leads to where it began. */
export function keepInHistory(): void {
  flush();
  history.pushState(null, "", addressOf(view.peek()));
}

export function openTimeline(id: string | null): void {
  navigate({ ...EMPTY_VIEW, query: view.peek().query, timeline: id });
}

export function setComparison(next: Comparison | null): void {
  amend({ comparison: next });
}

export function setLayers(layers: readonly Layer[]): void {
  amend({ layers });
}

/** The address of a view, on this page. */
export function addressOf(state: ViewState): string {
  return location.pathname + formatView(state);
}

/** Have the address tell the view now. */
export function flush(): void {
  clearTimeout(writing);
  writing = undefined;
  const address = addressOf(view.peek());
  if (address !== location.pathname + location.search) history.replaceState(null, "", address);
}

addEventListener("popstate", () => {
  clearTimeout(writing);
  writing = undefined;
  view.value = parseView(location.search);
});
