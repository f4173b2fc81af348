/** Encoded pictures of consecutive frames with their overlays, fetched in one request per batch. */
import { LRUCache } from "lru-cache";
import { request } from "../api/client";
import { parseBoundary, parseMultipart } from "../lib/multipart";
import { type Layer, layerKey } from "../lib/viewUrl";
import type { TimelineModel } from "./timelineModel";

/** Parts of a multipart response by name. */
type MultipartBody = ReadonlyMap<string, Bytes>;
type Bytes = Uint8Array<ArrayBuffer>;

const MIB = 2 ** 20;
/** Limit of the service; further overlays are requested one by one. */
const MAX_BATCH_LAYERS = 16;

/** Cache of encoded pictures by URL, filled by batches. */
export class EncodedCache {
  readonly #cache: LRUCache<string, Bytes>;
  readonly #pending = new Map<string, Promise<unknown>>();

  constructor(maxBytes: number) {
    this.#cache = new LRUCache({
      maxSize: maxBytes,
      sizeCalculation: (bytes) => Math.max(1, bytes.length),
    });
  }

  has(url: string): boolean {
    return this.#cache.has(url) || this.#pending.has(url);
  }

  /** Return bytes from a loaded or pending batch; request other URLs one by one. */
  async get(url: string, signal: AbortSignal): Promise<Bytes> {
    await this.#pending.get(url);
    signal.throwIfAborted();
    const cached = this.#cache.get(url);
    if (cached !== undefined) return cached;
    const response = await request(url, { signal });
    return new Uint8Array(await response.arrayBuffer());
  }

  /** Store the parts of a response when it arrives; until then `get` waits for its URLs. */
  async storeBatch(
    urlsByPart: ReadonlyMap<string, string>,
    response: Promise<MultipartBody>,
  ): Promise<MultipartBody> {
    const stored = response.then((parts) => {
      for (const [name, url] of urlsByPart) {
        const part = parts.get(name);
        if (part !== undefined) this.#cache.set(url, part);
      }
      return parts;
    });
    // If a batch fails, `get` requests each picture, which reports the error.
    const settled = stored.catch(() => undefined);
    for (const url of urlsByPart.values()) this.#pending.set(url, settled);
    try {
      return await stored;
    } finally {
      for (const url of urlsByPart.values()) {
        if (this.#pending.get(url) === settled) this.#pending.delete(url);
      }
    }
  }

  clear(): void {
    this.#cache.clear();
  }
}

export const encodedCache = new EncodedCache(64 * MIB);

export interface BatchResult {
  /** First position that the response lacks. */
  readonly end: number;
  readonly sizeBytes: number;
}

/** Fetch the frames at positions [start, stop) with their overlays. */
export async function fetchFrameBatch(
  timeline: TimelineModel,
  start: number,
  stop: number,
  layers: readonly Layer[],
  signal: AbortSignal,
): Promise<BatchResult> {
  await Promise.all([
    timeline.loadRows(start, stop),
    ...layers.map((layer) => timeline.loadOverlayIndex(layer)),
  ]);
  signal.throwIfAborted();
  const urlsByPart = new Map<string, string>();
  const overlayKeys = new Set<string>();
  const batchLayers = layers.slice(0, MAX_BATCH_LAYERS);
  for (let position = start; position < stop; position += 1) {
    const row = timeline.row(position);
    if (row === undefined || row.status === "undecodable") continue;
    urlsByPart.set(`frames/${row.sequence}.jpg`, timeline.frameUrl(row.sequence));
    for (const layer of batchLayers) {
      if (!timeline.overlaysAt(layer, row.sequence)?.names.includes(layer.name)) continue;
      const { job, stage, name } = layer;
      overlayKeys.add(layerKey(layer));
      urlsByPart.set(
        `overlays/${job}/${stage}/${row.sequence}/${name}.png`,
        timeline.overlayUrl(layer, name, row.sequence),
      );
    }
  }
  if (urlsByPart.size === 0) return { end: stop, sizeBytes: 0 };
  const overlays = [...overlayKeys].map((key) => `&overlay=${encodeURIComponent(key)}`).join("");
  const query = `position=${start}&count=${stop - start}${overlays}`;
  const response = request(`${timeline.path}/run?${query}`, { signal });
  const parts = await encodedCache.storeBatch(urlsByPart, response.then(readMultipart));
  let sizeBytes = 0;
  for (const part of parts.values()) sizeBytes += part.length;
  for (let position = start; position < stop; position += 1) {
    const row = timeline.row(position);
    if (row === undefined || row.status === "undecodable") continue;
    if (!parts.has(`frames/${row.sequence}.jpg`)) {
      return { end: Math.max(position, start + 1), sizeBytes };
    }
  }
  return { end: stop, sizeBytes };
}

async function readMultipart(response: Response): Promise<MultipartBody> {
  const boundary = parseBoundary(response.headers.get("content-type") ?? "");
  if (boundary === null) throw new Error("The service's response is not a form.");
  return parseMultipart(new Uint8Array(await response.arrayBuffer()), boundary);
}
