/** Fetches the frames that are likely to be looked at next, and gives up those that no longer are. */
import type { Layer } from "../pure/address";
import { loadComposite } from "./composite";
import type { Opened } from "./opened";

export class Ahead {
  readonly #fetching = new Map<number, AbortController>();
  #timeline: Opened | null = null;

  /** Give up what is being fetched for other positions than these. */
  keep(timeline: Opened | null, positions: readonly number[]): void {
    const wanted = new Set(timeline === this.#timeline ? positions : []);
    for (const [position, abort] of this.#fetching) {
      if (wanted.has(position)) continue;
      this.#fetching.delete(position);
      abort.abort();
    }
    this.#timeline = timeline;
  }

  /** Have these positions fetched, the most wanted first, and no others. */
  want(timeline: Opened | null, positions: readonly number[], layers: readonly Layer[]): void {
    this.keep(timeline, positions);
    if (timeline === null) return;
    for (const position of positions) {
      if (position < 0 || position >= timeline.count || this.#fetching.has(position)) continue;
      const abort = new AbortController();
      this.#fetching.set(position, abort);
      const forget = () => {
        if (this.#fetching.get(position) === abort) this.#fetching.delete(position);
      };
      loadComposite(timeline, position, layers, abort.signal).then(forget, forget);
    }
  }
}
