/** An opened timeline: its description at once, everything else when it is first looked at. */
import { batch, type Signal, signal } from "@preact/signals";
import { LRUCache } from "lru-cache";
import { getJson, isAbort, request } from "../api/client";
import type {
  Detail,
  FrameDetail,
  FramePage,
  OverlayColumns,
  OverlayDifference,
  SpriteMap,
} from "../api/types";
import { formatStage, type StageRef, stagePath } from "../pure/address";
import { countUpTo, type Overview, positionOf, sequenceAt, timeAt } from "../pure/track";
import { inTurn, loadBitmap, loadOverlay, type OverlayPicture, Pictures } from "./pictures";

const MEBIBYTE = 2 ** 20;
const ROWS_A_BLOCK = 64;
const BUCKETS = 1000;
/** The service makes two at a time, and refuses whoever waits behind too many. */
const SHEETS_AT_ONCE = 3;

/** Shared by all timelines, so that comparing two costs no more memory than looking at one. */
export const framePictures = new Pictures(256 * MEBIBYTE, loadBitmap);
export const sheetPictures = new Pictures(96 * MEBIBYTE, inTurn(SHEETS_AT_ONCE, loadBitmap));
export const overlayPictures = new Pictures<OverlayPicture>(128 * MEBIBYTE, loadOverlay);

export interface StageColumns {
  readonly sequence: Float64Array;
  readonly names: readonly (readonly string[])[];
  readonly stale: Uint8Array;
}

export interface Tile {
  readonly sheet: ImageBitmap;
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** What is known of the frame at a position before, and after, its row has come. */
export interface Place {
  readonly sequence: number | null;
  readonly timestamp: number | null;
  readonly exact: boolean;
}

export class Opened {
  readonly detail: Signal<Detail | null> = signal(null);
  readonly overview: Signal<Overview | null> = signal(null);
  readonly sprites: Signal<SpriteMap | null> = signal(null);
  readonly columns: Signal<ReadonlyMap<string, StageColumns>> = signal(new Map());
  readonly problem: Signal<Error | null> = signal(null);
  /** Counts blocks of rows and sheets that came, for what is drawn from them. */
  readonly arrivals = signal(0);
  readonly loadedCount = signal(0);
  readonly #rows = new LRUCache<number, FrameDetail>({ max: 20_000 });
  readonly #blocks = new Map<number, Promise<void>>();
  readonly #columnsAsked = new Map<string, Promise<void>>();
  #tracksAsked = false;
  #detailsAsked = 0;
  #detailShown = 0;
  readonly #loaded = new Map<number, string>();
  readonly #closed = new AbortController();

  constructor(readonly timelineId: string) {}

  get path(): string {
    return `api/timelines/${encodeURIComponent(this.timelineId)}`;
  }

  get count(): number {
    return this.overview.value?.count ?? this.detail.value?.cached_count ?? 0;
  }

  close(): void {
    this.#closed.abort();
  }

  /** Load the description, which the service may have held for a moment. */
  async load(): Promise<void> {
    await this.#loadDetail("default");
  }

  /** Load what extractions and jobs have changed until now, whatever the service holds. */
  async refresh(): Promise<void> {
    await this.#loadDetail("reload");
  }

  async #loadDetail(cache: RequestCache): Promise<void> {
    this.#detailsAsked += 1;
    const asked = this.#detailsAsked;
    try {
      const response = await request(this.path, { signal: this.#closed.signal, cache });
      const detail = (await response.json()) as Detail;
      // An answer that took longer may tell of what was before.
      if (asked < this.#detailShown) return;
      this.#detailShown = asked;
      batch(() => {
        const before = this.detail.peek();
        if (before !== null && before.version !== detail.version) this.#forgetFrames();
        this.detail.value = detail;
        this.problem.value = null;
        this.#columnsAsked.clear();
        overlayPictures.clear();
      });
    } catch (error) {
      if (!isAbort(error)) this.problem.value = error as Error;
    }
  }

  /** Load what the scrubber and the filmstrip are drawn from; once. */
  async loadTracksOnce(): Promise<void> {
    if (this.#tracksAsked) return;
    this.#tracksAsked = true;
    const version = this.#version;
    const { signal } = this.#closed;
    try {
      const [overview, sprites] = await Promise.all([
        getJson<Overview>(`${this.path}/overview?buckets=${BUCKETS}`, signal),
        this.detail.value?.sprites ? getJson<SpriteMap>(`${this.path}/sprites`, signal) : null,
      ]);
      if (version !== this.#version) return;
      this.overview.value = overview;
      this.sprites.value = sprites;
    } catch (error) {
      if (!isAbort(error)) this.problem.value = error as Error;
    }
  }

  row(position: number): FrameDetail | undefined {
    return this.#rows.get(position);
  }

  place(position: number): Place {
    const row = this.row(position);
    if (row !== undefined) {
      return { sequence: row.sequence, timestamp: row.timestamp, exact: true };
    }
    const overview = this.overview.value;
    const sequence = overview === null ? null : sequenceAt(overview, position);
    return {
      sequence: sequence?.value ?? null,
      timestamp: overview === null ? null : timeAt(overview, position),
      exact: false,
    };
  }

  /** The row at a position, from its block of rows, which is asked for once. */
  async loadRow(position: number): Promise<FrameDetail | undefined> {
    if (!this.#rows.has(position)) {
      const block = Math.floor(position / ROWS_A_BLOCK);
      const loading = this.#blocks.get(block) ?? this.#loadBlock(block);
      await loading;
    }
    return this.#rows.get(position);
  }

  /** The position of a sequence, or of the nearest frame after it, or the last. */
  async findSequence(sequence: number): Promise<number> {
    const overview = this.overview.peek();
    const known = overview === null ? null : positionOf(overview, sequence);
    if (known?.exact) return known.value;
    const page = await this.#page(`start=${sequence}&limit=${ROWS_A_BLOCK}`);
    return page.frames[0]?.position ?? Math.max(0, this.count - 1);
  }

  /**
   * The position of the frame on screen at a time; outside of the video the first or last. The text
   * of it says by its digits what it was rounded to.
   */
  async findTime(seconds: number, text = seconds.toFixed(6)): Promise<number> {
    const { start_seconds, stop_seconds } = this.detail.peek() ?? {};
    if (stop_seconds != null && seconds >= stop_seconds) return Math.max(0, this.count - 1);
    if (start_seconds != null && seconds <= start_seconds) return 0;
    const row = await getJson<FrameDetail>(
      `${this.path}/at/${encodeURIComponent(text)}`,
      this.#closed.signal,
    );
    this.#rows.set(row.position, row);
    return row.position;
  }

  noteLoaded(position: number, sequence: number): void {
    this.#loaded.set(position, this.frameUrl(sequence));
    this.loadedCount.value = this.#loaded.size;
  }

  /** Positions whose picture is in memory. */
  loadedPositions(): number[] {
    for (const [position, url] of this.#loaded) {
      if (!framePictures.has(url)) this.#loaded.delete(position);
    }
    return [...this.#loaded.keys()];
  }

  frameUrl(sequence: number): string {
    return `${this.path}/frames/${sequence}.jpg?v=${this.#version}`;
  }

  overlayUrl(stage: StageRef, name: string, sequence: number): string {
    const file = `${encodeURIComponent(name)}.png`;
    return `${this.path}/overlays/${stagePath(stage)}/${sequence}/${file}`;
  }

  /** The tile of a position, if its sheet is there; else the sheet is asked for. */
  tile(position: number, signal: AbortSignal | null): Tile | null {
    const map = this.sprites.value;
    if (map === null) return null;
    const index = this.#sheetOf(map, position);
    const first = map.sheets[index];
    if (first === undefined || position >= first.first_position + first.count) return null;
    const url = `${this.path}/sprites/${index}.jpg?v=${this.#version}`;
    const sheet = sheetPictures.peek(url);
    if (sheet === undefined) {
      if (signal !== null) this.#loadSheet(url, signal);
      return null;
    }
    const rank = position - first.first_position;
    return {
      sheet,
      x: (rank % map.columns) * map.tile_width,
      y: Math.floor(rank / map.columns) * map.tile_height,
      width: map.tile_width,
      height: map.tile_height,
    };
  }

  /** The columns of a stage, asked for once; done when they are there, or cannot be had. */
  loadColumns(stage: StageRef): Promise<void> {
    const key = formatStage(stage);
    const asked = this.#columnsAsked.get(key) ?? this.#askForColumns(key, stage);
    this.#columnsAsked.set(key, asked);
    return asked;
  }

  /** The overlay names of a stage's frame, and whether they are of another picture than this one. */
  drawn(stage: StageRef, sequence: number): { names: readonly string[]; stale: boolean } | null {
    const columns = this.columns.value.get(formatStage(stage));
    if (columns === undefined) return null;
    const row = countUpTo(columns.sequence, sequence) - 1;
    if (columns.sequence[row] !== sequence) return { names: [], stale: false };
    return { names: columns.names[row] ?? [], stale: columns.stale[row] === 1 };
  }

  async differences(a: StageRef, b: StageRef, timeline: string | null): Promise<OverlayDifference> {
    const other = timeline === null ? "" : `&timeline=${encodeURIComponent(timeline)}`;
    const there = `job=${encodeURIComponent(b.job)}&stage=${encodeURIComponent(b.stage)}`;
    const path = `${this.path}/overlays/${stagePath(a)}/compare?${there}${other}`;
    return await getJson<OverlayDifference>(path, this.#closed.signal);
  }

  get #version(): string {
    return encodeURIComponent(this.detail.peek()?.version ?? "");
  }

  /** What was known of frames that since were extracted anew, or cleared. */
  #forgetFrames(): void {
    this.#rows.clear();
    this.#blocks.clear();
    this.#loaded.clear();
    this.loadedCount.value = 0;
    this.overview.value = null;
    this.sprites.value = null;
    this.#tracksAsked = false;
    this.arrivals.value += 1;
  }

  async #askForColumns(key: string, stage: StageRef): Promise<void> {
    try {
      const path = `${this.path}/overlays/${stagePath(stage)}`;
      const columns = await getJson<OverlayColumns>(path, this.#closed.signal);
      const compact = {
        sequence: Float64Array.from(columns.sequence),
        names: shareNames(columns.names),
        stale: Uint8Array.from(columns.stale, Number),
      };
      this.columns.value = new Map(this.columns.peek()).set(key, compact);
    } catch (error) {
      this.#columnsAsked.delete(key);
      if (!isAbort(error)) this.problem.value = error as Error;
    }
  }

  #loadBlock(block: number): Promise<void> {
    const query = `position=${block * ROWS_A_BLOCK}&count=${ROWS_A_BLOCK}`;
    const loading = this.#page(query)
      .then(() => undefined)
      .catch((error: unknown) => {
        if (!isAbort(error)) this.problem.value = error as Error;
      })
      .finally(() => this.#blocks.delete(block));
    this.#blocks.set(block, loading);
    return loading;
  }

  async #page(query: string): Promise<FramePage> {
    const version = this.#version;
    const page = await getJson<FramePage>(`${this.path}/frames?${query}`, this.#closed.signal);
    if (version !== this.#version) return await this.#page(query);
    for (const row of page.frames) this.#rows.set(row.position, row);
    this.arrivals.value += 1;
    return page;
  }

  #sheetOf(map: SpriteMap, position: number): number {
    let low = 0;
    let high = map.sheets.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((map.sheets[middle]?.first_position ?? 0) <= position) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  #loadSheet(url: string, signal: AbortSignal): void {
    sheetPictures.get(url, signal).then(
      () => {
        this.arrivals.value += 1;
      },
      () => undefined,
    );
  }
}

/** Most frames of a stage have the same names: they share one list. */
function shareNames(names: readonly string[][]): (readonly string[])[] {
  const lists = new Map<string, readonly string[]>();
  return names.map((list) => {
    const key = list.join("/");
    const shared = lists.get(key) ?? list;
    lists.set(key, shared);
    return shared;
  });
}
