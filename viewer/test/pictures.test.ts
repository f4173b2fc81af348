import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { inTurn, Pictures } from "../src/data/pictures";

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

describe("pictures loaded in turn", () => {
  /** Loads that end when they are told to, and what began, and what was aborted. */
  function slow() {
    const begun: string[] = [];
    const aborted: string[] = [];
    const finish = new Map<string, () => void>();
    const load = (url: string, signal: AbortSignal) => {
      begun.push(url);
      signal.addEventListener("abort", () => aborted.push(url));
      return new Promise<Fake>((resolve) => finish.set(url, () => resolve(new Fake())));
    };
    return { begun, aborted, finish, pictures: new Pictures<Fake>(4 * BYTES, inTurn(2, load)) };
  }

  const settled = () => new Promise((resolve) => setTimeout(resolve));

  test("are so many at a time, and none that was given up before its turn", async () => {
    const { begun, finish, pictures } = slow();
    const givenUp = new AbortController();
    const first = pictures.get("1", forever);
    void pictures.get("2", forever);
    const third = pictures.get("3", givenUp.signal);
    const fourth = pictures.get("4", forever);
    await settled();
    expect(begun).toEqual(["1", "2"]);
    givenUp.abort();
    await expect(third).rejects.toThrow();
    finish.get("1")?.();
    await first;
    await settled();
    expect(begun).toEqual(["1", "2", "4"]);
    finish.get("4")?.();
    expect((await fourth).closed).toBe(false);
  });

  test("are finished once they are begun, and closed if nobody waits for them then", async () => {
    const { begun, aborted, finish, pictures } = slow();
    const givenUp = new AbortController();
    const first = pictures.get("1", givenUp.signal);
    await settled();
    givenUp.abort();
    await expect(first).rejects.toThrow();
    void pictures.get("2", forever);
    void pictures.get("3", forever);
    await settled();
    expect(begun).toEqual(["1", "2"]);
    expect(aborted).toEqual([]);
    finish.get("1")?.();
    await settled();
    expect(begun).toEqual(["1", "2", "3"]);
    expect(pictures.count).toBe(0);
  });
});
