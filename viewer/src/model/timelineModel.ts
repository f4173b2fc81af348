/** Client-side model of a timeline. Everything but its details is loaded on demand. */
import { batch, type Signal, signal } from "@preact/signals";
import { LRUCache } from "lru-cache";
import { getJson, isAbort, request } from "../api/client";
import type {
  Detail,
  FrameDetail,
  FramePage,
  OverlayColumns,
  OverlayDifference,
  SpriteDetail,
} from "../api/types";
import {
  type Overview,
  positionOfSequence,
  sequenceAt,
  timeAt,
  upperBound,
} from "../lib/timelineAxis";
import { formatStage, type StageRef, stagePath } from "../lib/viewUrl";
import { encodedCache } from "./frameBatch";
import {
  limitConcurrency,
  loadFrame,
  loadOverlay,
  type OverlayPicture,
  PictureCache,
} from "./pictureCache";

const MIB = 2 ** 20;
const ROWS_PER_BLOCK = 64;
const OVERVIEW_BUCKETS = 1000;
/** The service creates two sheets at a time, and rejects requests if too many are queued. */
const MAX_CONCURRENT_SHEETS = 3;

/** Shared by all timelines, so that a comparison needs no more memory than one timeline. */
export const frameCache = new PictureCache(256 * MIB, loadFrame);
const spriteSheetCache = new PictureCache(
  96 * MIB,
  limitConcurrency(MAX_CONCURRENT_SHEETS, loadFrame),
);
export const overlayCache = new PictureCache<OverlayPicture>(128 * MIB, loadOverlay);

const COMMIT_REFRESH_MILLISECONDS = 4000;

export interface OverlayIndex {
  readonly sequence: Float64Array;
  readonly names: readonly (readonly string[])[];
  readonly stale: Uint8Array;
}

export interface SpriteTile {
  readonly sheet: ImageBitmap;
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** Sequence and time of a frame; estimates until its row is loaded. */
export interface FrameInfo {
  readonly sequence: number | null;
  readonly timestamp: number | null;
  readonly exact: boolean;
}

export class TimelineModel {
  readonly detail: Signal<Detail | null> = signal(null);
  readonly overview: Signal<Overview | null> = signal(null);
  readonly sprites: Signal<SpriteDetail | null> = signal(null);
  readonly overlayIndexes: Signal<ReadonlyMap<string, OverlayIndex>> = signal(new Map());
  readonly error: Signal<Error | null> = signal(null);
  /** Increases whenever rows or sprite sheets arrive, so that components redraw. */
  readonly dataRevision = signal(0);
  readonly loadedCount = signal(0);
  readonly #rows = new LRUCache<number, FrameDetail>({ max: 20_000 });
  /** Keyed by the text of the time. */
  readonly #positionsByTime = new LRUCache<string, number>({ max: 2_000 });
  readonly #blockRequests = new Map<number, Promise<void>>();
  readonly #overlayIndexRequests = new Map<string, Promise<void>>();
  #areTracksRequested = false;
  #nextRefresh: ReturnType<typeof setTimeout> | undefined;
  #lastDetailRequest = 0;
  #shownDetailRequest = 0;
  readonly #loadedFrameUrls = new Map<number, string>();
  readonly #abort = new AbortController();

  constructor(readonly timelineId: string) {}

  get path(): string {
    return `api/v1/timelines/${encodeURIComponent(this.timelineId)}`;
  }

  get count(): number {
    return this.overview.value?.count ?? this.detail.value?.cached_count ?? 0;
  }

  close(): void {
    clearTimeout(this.#nextRefresh);
    this.#abort.abort();
  }

  /** Load the details; the HTTP cache may answer. */
  async load(): Promise<void> {
    await this.#loadDetail("default");
  }

  /** Load the details again, bypassing caches, to see new frames and overlays. */
  async refresh(): Promise<void> {
    await this.#loadDetail("reload");
  }

  /** Refresh within a few seconds: frames were committed, and more may follow. */
  refreshSoon(): void {
    this.#nextRefresh ??= setTimeout(() => {
      this.#nextRefresh = undefined;
      void this.refresh();
    }, COMMIT_REFRESH_MILLISECONDS);
  }

  async #loadDetail(cache: RequestCache): Promise<void> {
    this.#lastDetailRequest += 1;
    const requestNumber = this.#lastDetailRequest;
    try {
      const response = await request(this.path, { signal: this.#abort.signal, cache });
      const detail = (await response.json()) as Detail;
      // Responses may arrive out of order: keep that of the latest request.
      if (requestNumber < this.#shownDetailRequest) return;
      this.#shownDetailRequest = requestNumber;
      batch(() => {
        const previous = this.detail.peek();
        if (previous !== null && previous.version !== detail.version) this.#invalidateFrames();
        this.detail.value = detail;
        this.error.value = null;
        this.#overlayIndexRequests.clear();
        overlayCache.clear();
        encodedCache.clear();
      });
    } catch (error) {
      if (!isAbort(error)) this.error.value = error as Error;
    }
  }

  /** Load the overview and the sprite map, unless they are loaded or requested already. */
  async loadTracks(): Promise<void> {
    if (this.#areTracksRequested) return;
    this.#areTracksRequested = true;
    const version = this.#version;
    const { signal } = this.#abort;
    try {
      const [overview, sprites] = await Promise.all([
        getJson<Overview>(`${this.path}/overview?buckets=${OVERVIEW_BUCKETS}`, signal),
        this.detail.value?.sprites ? getJson<SpriteDetail>(`${this.path}/sprites`, signal) : null,
      ]);
      if (version !== this.#version) return;
      this.overview.value = overview;
      this.sprites.value = sprites;
    } catch (error) {
      if (!isAbort(error)) this.error.value = error as Error;
    }
  }

  row(position: number): FrameDetail | undefined {
    return this.#rows.get(position);
  }

  frameInfo(position: number): FrameInfo {
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

  /** Return the row at a position. Rows are requested in blocks, each block once. */
  async loadRow(position: number): Promise<FrameDetail | undefined> {
    if (!this.#rows.has(position)) {
      const block = Math.floor(position / ROWS_PER_BLOCK);
      const loading = this.#blockRequests.get(block) ?? this.#loadBlock(block);
      await loading;
    }
    return this.#rows.get(position);
  }

  /** Load the rows at positions [start, stop). */
  async loadRows(start: number, stop: number): Promise<void> {
    const firsts = [];
    for (let position = start; position < stop; position += ROWS_PER_BLOCK) firsts.push(position);
    await Promise.all([...firsts, stop - 1].map((position) => this.loadRow(position)));
  }

  /** Return the result of `findPositionOfSequence` if it needs no request. */
  peekPositionOfSequence(sequence: number): number | undefined {
    const overview = this.overview.peek();
    const estimate = overview === null ? null : positionOfSequence(overview, sequence);
    return estimate?.exact ? estimate.value : undefined;
  }

  /** Return the position of a sequence; else that of the next frame, or of the last. */
  async findPositionOfSequence(sequence: number): Promise<number> {
    const cached = this.peekPositionOfSequence(sequence);
    if (cached !== undefined) return cached;
    const page = await this.#loadPage(`start=${sequence}&limit=${ROWS_PER_BLOCK}`);
    return page.frames[0]?.position ?? Math.max(0, this.count - 1);
  }

  /** Return the result of `findPositionAtTime` if it needs no request. */
  peekPositionAtTime(seconds: number, text = seconds.toFixed(6)): number | undefined {
    const { start_seconds, stop_seconds } = this.detail.peek() ?? {};
    if (stop_seconds != null && seconds >= stop_seconds) return Math.max(0, this.count - 1);
    if (start_seconds != null && seconds <= start_seconds) return 0;
    return this.#positionsByTime.get(text);
  }

  /**
   * Return the position of the frame shown at a time; the first or last position outside of the video.
   * The number of digits in `text` is the precision of the lookup.
   */
  async findPositionAtTime(seconds: number, text = seconds.toFixed(6)): Promise<number> {
    const cached = this.peekPositionAtTime(seconds, text);
    if (cached !== undefined) return cached;
    const row = await getJson<FrameDetail>(
      `${this.path}/at/${encodeURIComponent(text)}`,
      this.#abort.signal,
    );
    this.#rows.set(row.position, row);
    this.#positionsByTime.set(text, row.position);
    return row.position;
  }

  markLoaded(position: number, sequence: number): void {
    this.#loadedFrameUrls.set(position, this.frameUrl(sequence));
    this.loadedCount.value = this.#loadedFrameUrls.size;
  }

  /** Positions whose frames are in the cache. */
  loadedPositions(): number[] {
    for (const [position, url] of this.#loadedFrameUrls) {
      if (!frameCache.has(url)) this.#loadedFrameUrls.delete(position);
    }
    return [...this.#loadedFrameUrls.keys()];
  }

  frameUrl(sequence: number): string {
    return `${this.path}/frames/${sequence}.jpg?v=${this.#version}`;
  }

  overlayUrl(stage: StageRef, name: string, sequence: number): string {
    const file = `${encodeURIComponent(name)}.png`;
    return `${this.path}/overlays/${stagePath(stage)}/${sequence}/${file}`;
  }

  /** Return the thumbnail of a position; null, and request its sheet, if that is not loaded. */
  spriteTile(position: number, signal: AbortSignal | null): SpriteTile | null {
    const map = this.sprites.value;
    if (map === null) return null;
    const index = this.#sheetIndexOf(map, position);
    const sheetInfo = map.sheets[index];
    if (sheetInfo === undefined || position >= sheetInfo.first_position + sheetInfo.count)
      return null;
    const url = `${this.path}/sprites/${index}.jpg?v=${this.#version}`;
    const sheet = spriteSheetCache.peek(url);
    if (sheet === undefined) {
      if (signal !== null) this.#loadSheet(url, signal);
      return null;
    }
    const indexInSheet = position - sheetInfo.first_position;
    return {
      sheet,
      x: (indexInSheet % map.columns) * map.tile_width,
      y: Math.floor(indexInSheet / map.columns) * map.tile_height,
      width: map.tile_width,
      height: map.tile_height,
    };
  }

  /** Load the overlay index of a stage once. Resolves in case of an error, too. */
  loadOverlayIndex(stage: StageRef): Promise<void> {
    const key = formatStage(stage);
    const request = this.#overlayIndexRequests.get(key) ?? this.#requestOverlayIndex(key, stage);
    this.#overlayIndexRequests.set(key, request);
    return request;
  }

  /** Return the overlay names of a frame; null if the index of the stage is not loaded. */
  overlaysAt(
    stage: StageRef,
    sequence: number,
  ): { names: readonly string[]; stale: boolean } | null {
    const index = this.overlayIndexes.value.get(formatStage(stage));
    if (index === undefined) return null;
    const row = upperBound(index.sequence, sequence) - 1;
    if (index.sequence[row] !== sequence) return { names: [], stale: false };
    return { names: index.names[row] ?? [], stale: index.stale[row] === 1 };
  }

  async compareOverlays(
    a: StageRef,
    b: StageRef,
    timeline: string | null,
  ): Promise<OverlayDifference> {
    const other = timeline === null ? "" : `&timeline=${encodeURIComponent(timeline)}`;
    const target = `job=${encodeURIComponent(b.job)}&stage=${encodeURIComponent(b.stage)}`;
    const path = `${this.path}/overlays/${stagePath(a)}/compare?${target}${other}`;
    return await getJson<OverlayDifference>(path, this.#abort.signal);
  }

  get #version(): string {
    return encodeURIComponent(this.detail.peek()?.version ?? "");
  }

  /** Discard cached rows and tracks, because frames were extracted again or cleared. */
  #invalidateFrames(): void {
    this.#rows.clear();
    this.#positionsByTime.clear();
    this.#blockRequests.clear();
    this.#loadedFrameUrls.clear();
    this.loadedCount.value = 0;
    this.overview.value = null;
    this.sprites.value = null;
    this.#areTracksRequested = false;
    this.dataRevision.value += 1;
  }

  async #requestOverlayIndex(key: string, stage: StageRef): Promise<void> {
    try {
      const path = `${this.path}/overlays/${stagePath(stage)}`;
      const columns = await getJson<OverlayColumns>(path, this.#abort.signal);
      const index = {
        sequence: Float64Array.from(columns.sequence),
        names: internNames(columns.names),
        stale: Uint8Array.from(columns.stale, Number),
      };
      this.overlayIndexes.value = new Map(this.overlayIndexes.peek()).set(key, index);
    } catch (error) {
      this.#overlayIndexRequests.delete(key);
      if (!isAbort(error)) this.error.value = error as Error;
    }
  }

  #loadBlock(block: number): Promise<void> {
    const query = `position=${block * ROWS_PER_BLOCK}&count=${ROWS_PER_BLOCK}`;
    const loading = this.#loadPage(query)
      .then(() => undefined)
      .catch((error: unknown) => {
        if (!isAbort(error)) this.error.value = error as Error;
      })
      .finally(() => this.#blockRequests.delete(block));
    this.#blockRequests.set(block, loading);
    return loading;
  }

  async #loadPage(query: string): Promise<FramePage> {
    const version = this.#version;
    const page = await getJson<FramePage>(`${this.path}/frames?${query}`, this.#abort.signal);
    if (version !== this.#version) return await this.#loadPage(query);
    for (const row of page.frames) this.#rows.set(row.position, row);
    this.dataRevision.value += 1;
    return page;
  }

  #sheetIndexOf(map: SpriteDetail, position: number): number {
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
    spriteSheetCache.get(url, signal).then(
      () => {
        this.dataRevision.value += 1;
      },
      () => undefined,
    );
  }
}

/** Share equal lists, because most frames of a stage have the same names. */
function internNames(names: readonly string[][]): (readonly string[])[] {
  const lists = new Map<string, readonly string[]>();
  return names.map((list) => {
    const key = list.join("/");
    const shared = lists.get(key) ?? list;
    lists.set(key, shared);
    return shared;
  });
}
