/** Cache of decoded pictures, limited in bytes. Concurrent requests for one picture are merged. */
import { LRUCache } from "lru-cache";
import pLimit from "p-limit";
import { dominantColor } from "../lib/dominantColor";
import { decodePicture } from "./decode";
import { encodedCache } from "./frameBatch";

export interface Picture {
  readonly width: number;
  readonly height: number;
  close(): void;
}

type Load<P> = (url: string, signal: AbortSignal) => Promise<P>;

interface PendingLoad<P> {
  readonly picture: Promise<P>;
  readonly abort: AbortController;
  waiterCount: number;
}

export class PictureCache<P extends Picture = ImageBitmap> {
  readonly #cache: LRUCache<string, P>;
  readonly #pending = new Map<string, PendingLoad<P>>();
  readonly #load: Load<P>;

  constructor(maxBytes: number, load: Load<P>) {
    this.#load = load;
    this.#cache = new LRUCache({
      maxSize: maxBytes,
      sizeCalculation: (picture) => Math.max(1, picture.width * picture.height * 4),
      dispose: (picture) => picture.close(),
    });
  }

  /**
   * Return a cached picture. Draw it before any await, because later requests may close it. This does
   * not count as use: shown pictures would otherwise evict those that playback decoded ahead.
   */
  peek(url: string): P | undefined {
    return this.#cache.peek(url);
  }

  has(url: string): boolean {
    return this.#cache.has(url);
  }

  async get(url: string, signal: AbortSignal): Promise<P> {
    const cached = this.#cache.get(url);
    if (cached !== undefined) return cached;
    signal.throwIfAborted();
    const pending = this.#pending.get(url) ?? this.#startLoad(url);
    pending.waiterCount += 1;
    return await new Promise<P>((resolve, reject) => {
      signal.addEventListener("abort", () => {
        pending.waiterCount -= 1;
        if (pending.waiterCount === 0) {
          this.#pending.delete(url);
          pending.abort.abort();
        }
        reject(signal.reason);
      });
      pending.picture.then(resolve, reject);
    });
  }

  get sizeBytes(): number {
    return this.#cache.calculatedSize;
  }

  get count(): number {
    return this.#cache.size;
  }

  get pendingCount(): number {
    return this.#pending.size;
  }

  clear(): void {
    this.#cache.clear();
  }

  #startLoad(url: string): PendingLoad<P> {
    const abort = new AbortController();
    const picture = this.#load(url, abort.signal).then((loaded) => {
      if (abort.signal.aborted) {
        loaded.close();
        abort.signal.throwIfAborted();
      }
      this.#cache.set(url, loaded);
      return loaded;
    });
    const pending = { picture, abort, waiterCount: 0 };
    this.#pending.set(url, pending);
    const removePending = () => {
      if (this.#pending.get(url) === pending) this.#pending.delete(url);
    };
    picture.then(removePending, removePending);
    return pending;
  }
}

export async function loadFrame(url: string, signal: AbortSignal): Promise<ImageBitmap> {
  return await decodePicture(await encodedCache.get(url, signal));
}

/** Frees the slot of a canceled load that never finishes. */
const LOAD_TIMEOUT_MILLISECONDS = 30_000;

/**
 * Limit concurrent loads. A load that has started is not canceled, because the service would finish it
 * anyway; a load that is canceled while it is queued is never requested.
 */
export function limitConcurrency<P extends Picture>(concurrency: number, load: Load<P>): Load<P> {
  const limit = pLimit(concurrency);
  return (url, signal) =>
    limit(() => {
      signal.throwIfAborted();
      return load(url, AbortSignal.timeout(LOAD_TIMEOUT_MILLISECONDS));
    });
}

/** Decoded overlay. A gray mask has no transparency, so it is blended in another way. */
export class OverlayPicture implements Picture {
  /** Dominant color; undefined until it is computed. */
  color: string | null | undefined;

  constructor(
    readonly bitmap: ImageBitmap,
    readonly isGrayMask: boolean,
  ) {}

  get width(): number {
    return this.bitmap.width;
  }

  get height(): number {
    return this.bitmap.height;
  }

  close(): void {
    this.bitmap.close();
  }
}

const SAMPLED_WIDTH = 320;

/** Return the dominant color of an overlay; null if nothing of it is visible. */
export function overlayColor(picture: OverlayPicture): string | null {
  if (picture.color !== undefined) return picture.color;
  const scale = Math.min(1, SAMPLED_WIDTH / picture.width);
  const width = Math.max(1, Math.round(picture.width * scale));
  const height = Math.max(1, Math.round(picture.height * scale));
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  if (context === null) return null;
  // Smoothing would mix the color of thin lines with that of adjacent pixels.
  context.imageSmoothingEnabled = false;
  context.drawImage(picture.bitmap, 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height);
  picture.color = dominantColor(data, picture.isGrayMask);
  return picture.color;
}

/** Offset of the color type in a PNG header; 0 is gray without transparency. */
const COLOR_TYPE_OFFSET = 25;

export async function loadOverlay(url: string, signal: AbortSignal): Promise<OverlayPicture> {
  const bytes = await encodedCache.get(url, signal);
  return new OverlayPicture(await decodePicture(bytes), bytes[COLOR_TYPE_OFFSET] === 0);
}
