import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { EncodedCache } from "../src/model/frameBatch";

const neverAborted = new AbortController().signal;
const requestedUrls: string[] = [];

beforeEach(() => {
  requestedUrls.length = 0;
  vi.stubGlobal("fetch", (url: string) => {
    requestedUrls.push(url);
    return Promise.resolve(new Response("alone"));
  });
});
afterEach(() => {
  vi.unstubAllGlobals();
});

type MultipartBody = Map<string, Uint8Array<ArrayBuffer>>;

function multipartBody(parts: Record<string, string>): MultipartBody {
  return new Map(
    Object.entries(parts).map(([name, text]) => [name, Uint8Array.from(encode(text))]),
  );
}

const encode = (text: string) => new TextEncoder().encode(text);
const textOf = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

const urlsByPart = new Map([
  ["frames/1.jpg", "/frames/1"],
  ["frames/2.jpg", "/frames/2"],
]);

describe("EncodedCache", () => {
  test("waits for a pending batch instead of requesting a picture", async () => {
    const cache = new EncodedCache(1000);
    let resolveBatch = (_: MultipartBody) => {};
    const storing = cache.storeBatch(
      urlsByPart,
      new Promise((resolve) => {
        resolveBatch = resolve;
      }),
    );
    const loading = cache.get("/frames/1", neverAborted);
    resolveBatch(multipartBody({ "frames/1.jpg": "one", "frames/2.jpg": "two" }));
    await storing;
    expect(textOf(await loading)).toBe("one");
    expect(textOf(await cache.get("/frames/2", neverAborted))).toBe("two");
    expect(requestedUrls).toEqual([]);
  });

  test("requests pictures that a batch lacks", async () => {
    const cache = new EncodedCache(1000);
    await cache.storeBatch(urlsByPart, Promise.resolve(multipartBody({ "frames/1.jpg": "one" })));
    expect(textOf(await cache.get("/frames/2", neverAborted))).toBe("alone");
    expect(requestedUrls).toEqual(["/frames/2"]);
  });

  test("requests pictures of a batch that failed", async () => {
    const cache = new EncodedCache(1000);
    const storing = cache.storeBatch(urlsByPart, Promise.reject(new Error("refused")));
    const loading = cache.get("/frames/1", neverAborted);
    await expect(storing).rejects.toThrow("refused");
    expect(textOf(await loading)).toBe("alone");
  });
});
