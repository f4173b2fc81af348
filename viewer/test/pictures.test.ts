import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Pictures } from "../src/data/pictures";

class Fake {
  closed = false;
  readonly width = 10;
  readonly height = 10;

  close(): void {
    this.closed = true;
  }
}

const BYTES = 10 * 10 * 4;

/** Pictures that come when they are let, with what was asked for and given up. */
function world(room: number) {
  const made: Fake[] = [];
  const asked: string[] = [];
  const givenUp: string[] = [];
  const pictures = new Pictures<Fake>(room * BYTES, (url, signal) => {
    asked.push(url);
    return new Promise((resolve, reject) => {
      signal.addEventListener("abort", () => {
        givenUp.push(url);
        reject(signal.reason);
      });
      queueMicrotask(() => {
        const picture = new Fake();
        made.push(picture);
        resolve(picture);
      });
    });
  });
  return { pictures, made, asked, givenUp };
}

const forever = new AbortController().signal;

describe("decoded pictures", () => {
  test("never take more than they may, and what goes is closed", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat({ max: 9 }), { maxLength: 40 }), async (numbers) => {
        const { pictures, made } = world(4);
        for (const number of numbers) {
          await pictures.get(`${number}`, forever);
          expect(pictures.sizeBytes).toBeLessThanOrEqual(4 * BYTES);
        }
        expect(made.filter((picture) => !picture.closed)).toHaveLength(pictures.count);
      }),
    );
  });

  test("are asked for once by all who want them at the same time", async () => {
    const { pictures, asked } = world(4);
    const both = await Promise.all([pictures.get("1", forever), pictures.get("1", forever)]);
    expect(both[0]).toBe(both[1]);
    expect(asked).toEqual(["1"]);
  });

  test("are given up when nobody waits any more", async () => {
    const { pictures, givenUp } = world(4);
    const abort = new AbortController();
    const getting = pictures.get("1", abort.signal);
    abort.abort();
    await expect(getting).rejects.toThrow();
    expect(givenUp).toEqual(["1"]);
    expect(pictures.fetchingCount).toBe(0);
  });

  test("go on for one who waits while another gives up", async () => {
    const { pictures, givenUp } = world(4);
    const abort = new AbortController();
    const one = pictures.get("1", abort.signal);
    const other = pictures.get("1", forever);
    abort.abort();
    await expect(one).rejects.toThrow();
    await expect(other).resolves.toBeInstanceOf(Fake);
    expect(givenUp).toEqual([]);
  });

  test("are not asked for by one who has given up before", async () => {
    const { pictures, asked } = world(4);
    await expect(pictures.get("1", AbortSignal.abort())).rejects.toThrow();
    expect(asked).toEqual([]);
  });
});
