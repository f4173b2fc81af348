/** Prefetching of the frames around the current one. */
import type { Layer } from "../lib/viewUrl";
import { loadComposite } from "./composite";
import type { TimelineModel } from "./timelineModel";

export class Prefetcher {
  readonly #pending = new Map<number, AbortController>();
  #timeline: TimelineModel | null = null;

  /** Cancel pending requests except those for `positions`. */
  cancelExcept(timeline: TimelineModel | null, positions: readonly number[]): void {
    const kept = new Set(timeline === this.#timeline ? positions : []);
    for (const [position, abort] of this.#pending) {
      if (kept.has(position)) continue;
      this.#pending.delete(position);
      abort.abort();
    }
    this.#timeline = timeline;
  }

  /** Load `positions` in this order, and cancel all other requests. */
  prefetch(
    timeline: TimelineModel | null,
    positions: readonly number[],
    layers: readonly Layer[],
  ): void {
    this.cancelExcept(timeline, positions);
    if (timeline === null) return;
    for (const position of positions) {
      if (position < 0 || position >= timeline.count || this.#pending.has(position)) continue;
      const abort = new AbortController();
      this.#pending.set(position, abort);
      const removePending = () => {
        if (this.#pending.get(position) === abort) this.#pending.delete(position);
      };
      loadComposite(timeline, position, layers, abort.signal).then(removePending, removePending);
    }
  }
}
