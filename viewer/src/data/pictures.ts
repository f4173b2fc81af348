/** Decoded pictures, within a bound of bytes; one request a picture, given up when nobody waits. */
import { LRUCache } from "lru-cache";
import pLimit from "p-limit";
import { request } from "../api/client";

export interface Picture {
  readonly width: number;
  readonly height: number;
  close(): void;
}

type Load<P> = (url: string, signal: AbortSignal) => Promise<P>;

interface Fetching<P> {
  readonly picture: Promise<P>;
  readonly abort: AbortController;
  waiting: number;
}

export class Pictures<P extends Picture = ImageBitmap> {
  readonly #kept: LRUCache<string, P>;
  readonly #fetching = new Map<string, Fetching<P>>();
  readonly #load: Load<P>;

  constructor(maxBytes: number, load: Load<P>) {
    this.#load = load;
    this.#kept = new LRUCache({
      maxSize: maxBytes,
      sizeCalculation: (picture) => Math.max(1, picture.width * picture.height * 4),
      dispose: (picture) => picture.close(),
    });
  }

  /** A picture that is there already. It may be closed once others are asked for: draw it at once. */
  peek(url: string): P | undefined {
    return this.#kept.get(url);
  }

  has(url: string): boolean {
    return this.#kept.has(url);
  }

  async get(url: string, signal: AbortSignal): Promise<P> {
    const kept = this.#kept.get(url);
    if (kept !== undefined) return kept;
    signal.throwIfAborted();
    const fetching = this.#fetching.get(url) ?? this.#begin(url);
    fetching.waiting += 1;
    return await new Promise<P>((resolve, reject) => {
      signal.addEventListener("abort", () => {
        fetching.waiting -= 1;
        if (fetching.waiting === 0) {
          this.#fetching.delete(url);
          fetching.abort.abort();
        }
        reject(signal.reason);
      });
      fetching.picture.then(resolve, reject);
    });
  }

  get sizeBytes(): number {
    return this.#kept.calculatedSize;
  }

  get count(): number {
    return this.#kept.size;
  }

  get fetchingCount(): number {
    return this.#fetching.size;
  }

  clear(): void {
    this.#kept.clear();
  }

  #begin(url: string): Fetching<P> {
    const abort = new AbortController();
    const picture = this.#load(url, abort.signal).then((loaded) => {
      if (abort.signal.aborted) {
        loaded.close();
        abort.signal.throwIfAborted();
      }
      this.#kept.set(url, loaded);
      return loaded;
    });
    const fetching = { picture, abort, waiting: 0 };
    this.#fetching.set(url, fetching);
    const forget = () => {
      if (this.#fetching.get(url) === fetching) this.#fetching.delete(url);
    };
    picture.then(forget, forget);
    return fetching;
  }
}

export async function loadBitmap(url: string, signal: AbortSignal): Promise<ImageBitmap> {
  const response = await request(url, { signal });
  return await createImageBitmap(await response.blob());
}

/** Then others have their turn, whatever became of one that was given up. */
const LONGEST_TURN_MILLISECONDS = 30_000;

/**
 * Loads so many at a time, and finishes what it has begun: the service would finish it anyway, and
 * then has it. What is given up before its turn is never asked for.
 */
export function inTurn<P extends Picture>(atOnce: number, load: Load<P>): Load<P> {
  const limit = pLimit(atOnce);
  return (url, signal) =>
    limit(() => {
      signal.throwIfAborted();
      return load(url, AbortSignal.timeout(LONGEST_TURN_MILLISECONDS));
    });
}

/** A PNG, with whether it can be laid over a frame as it is, or is a gray mask without transparency. */
export class OverlayPicture implements Picture {
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

/** Where a PNG's header tells its kind of colour; 0 is gray without transparency. */
const COLOR_TYPE_OFFSET = 25;

export async function loadOverlay(url: string, signal: AbortSignal): Promise<OverlayPicture> {
  const response = await request(url, { signal });
  const blob = await response.blob();
  const header = new Uint8Array(await blob.slice(0, COLOR_TYPE_OFFSET + 1).arrayBuffer());
  return new OverlayPicture(await createImageBitmap(blob), header[COLOR_TYPE_OFFSET] === 0);
}

/** Hand bytes to the person as a file; the object URL lives only as long as the click. */
export function download(bytes: Blob, name: string): void {
  const url = URL.createObjectURL(bytes);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url));
}
