import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { limitConcurrency, PictureCache } from "../src/model/pictureCache";

class FakePicture {
  closed = false;
  readonly width = 10;
  readonly height = 10;

  close(): void {
    this.closed = true;
  }
}

const BYTES = 10 * 10 * 4;

/** Cache with space for `capacity` pictures, and a log of its loads. */
function createCache(capacity: number) {
  const created: FakePicture[] = [];
  const requestedUrls: string[] = [];
  const abortedUrls: string[] = [];
  const cache = new PictureCache<FakePicture>(capacity * BYTES, (url, signal) => {
    requestedUrls.push(url);
    return new Promise((resolve, reject) => {
      signal.addEventListener("abort", () => {
        abortedUrls.push(url);
        reject(signal.reason);
      });
      queueMicrotask(() => {
        const picture = new FakePicture();
        created.push(picture);
        resolve(picture);
      });
    });
  });
  return { cache, created, requestedUrls, abortedUrls };
}

const neverAborted = new AbortController().signal;

describe("PictureCache", () => {
  test("stays within its limit, and closes evicted pictures", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat({ max: 9 }), { maxLength: 40 }), async (numbers) => {
        const { cache, created } = createCache(4);
        for (const number of numbers) {
          await cache.get(`${number}`, neverAborted);
          expect(cache.sizeBytes).toBeLessThanOrEqual(4 * BYTES);
        }
        expect(created.filter((picture) => !picture.closed)).toHaveLength(cache.count);
      }),
    );
  });

  test("keeps pictures that are decoded ahead until they are shown", async () => {
    const ahead = 4;
    const { cache, requestedUrls } = createCache(ahead + 2);
    for (let number = 0; number < ahead; number += 1) await cache.get(`${number}`, neverAborted);
    for (let shown = 0; shown < 20; shown += 1) {
      await cache.get(`${shown + ahead}`, neverAborted);
      expect(cache.peek(`${shown}`)).toBeDefined();
    }
    expect(requestedUrls).toHaveLength(20 + ahead);
  });

  test("merges concurrent requests for one picture", async () => {
    const { cache, requestedUrls } = createCache(4);
    const both = await Promise.all([cache.get("1", neverAborted), cache.get("1", neverAborted)]);
    expect(both[0]).toBe(both[1]);
    expect(requestedUrls).toEqual(["1"]);
  });

  test("aborts a load when its last caller aborts", async () => {
    const { cache, abortedUrls } = createCache(4);
    const abort = new AbortController();
    const loading = cache.get("1", abort.signal);
    abort.abort();
    await expect(loading).rejects.toThrow();
    expect(abortedUrls).toEqual(["1"]);
    expect(cache.pendingCount).toBe(0);
  });

  test("continues a load while another caller waits", async () => {
    const { cache, abortedUrls } = createCache(4);
    const abort = new AbortController();
    const one = cache.get("1", abort.signal);
    const other = cache.get("1", neverAborted);
    abort.abort();
    await expect(one).rejects.toThrow();
    await expect(other).resolves.toBeInstanceOf(FakePicture);
    expect(abortedUrls).toEqual([]);
  });

  test("does not load with an aborted signal", async () => {
    const { cache, requestedUrls } = createCache(4);
    await expect(cache.get("1", AbortSignal.abort())).rejects.toThrow();
    expect(requestedUrls).toEqual([]);
  });
});

describe("limitConcurrency", () => {
  /** Cache whose loads finish when the test says so. */
  function createSlowCache() {
    const startedUrls: string[] = [];
    const aborted: string[] = [];
    const finish = new Map<string, () => void>();
    const load = (url: string, signal: AbortSignal) => {
      startedUrls.push(url);
      signal.addEventListener("abort", () => aborted.push(url));
      return new Promise<FakePicture>((resolve) =>
        finish.set(url, () => resolve(new FakePicture())),
      );
    };
    return {
      startedUrls,
      aborted,
      finish,
      cache: new PictureCache<FakePicture>(4 * BYTES, limitConcurrency(2, load)),
    };
  }

  const flushPromises = () => new Promise((resolve) => setTimeout(resolve));

  test("runs a limited number of loads, and skips those aborted in the queue", async () => {
    const { startedUrls, finish, cache } = createSlowCache();
    const abort = new AbortController();
    const first = cache.get("1", neverAborted);
    void cache.get("2", neverAborted);
    const third = cache.get("3", abort.signal);
    const fourth = cache.get("4", neverAborted);
    await flushPromises();
    expect(startedUrls).toEqual(["1", "2"]);
    abort.abort();
    await expect(third).rejects.toThrow();
    finish.get("1")?.();
    await first;
    await flushPromises();
    expect(startedUrls).toEqual(["1", "2", "4"]);
    finish.get("4")?.();
    expect((await fourth).closed).toBe(false);
  });

  test("finishes started loads, and closes pictures that no caller waits for", async () => {
    const { startedUrls, aborted, finish, cache } = createSlowCache();
    const abort = new AbortController();
    const first = cache.get("1", abort.signal);
    await flushPromises();
    abort.abort();
    await expect(first).rejects.toThrow();
    void cache.get("2", neverAborted);
    void cache.get("3", neverAborted);
    await flushPromises();
    expect(startedUrls).toEqual(["1", "2"]);
    expect(aborted).toEqual([]);
    finish.get("1")?.();
    await flushPromises();
    expect(startedUrls).toEqual(["1", "2", "3"]);
    expect(cache.count).toBe(0);
  });
});
