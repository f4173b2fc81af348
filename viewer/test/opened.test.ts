import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Opened } from "../src/data/opened";

/** Requests that are answered when they are told to be, in any order. */
const asked: {
  url: string;
  cache: RequestCache | undefined;
  answer: (version: string) => void;
}[] = [];

beforeEach(() => {
  asked.length = 0;
  vi.stubGlobal("fetch", (url: string, init: RequestInit) => {
    return new Promise<Response>((resolve) => {
      const answer = (version: string) => resolve(Response.json({ version, cached_count: 1 }));
      asked.push({ url, cache: init.cache, answer });
    });
  });
});
afterEach(() => {
  vi.unstubAllGlobals();
});

describe("an opened timeline", () => {
  test("has the service look anew when it is refreshed, not when it is loaded", async () => {
    const timeline = new Opened("match-42");
    const loading = timeline.load();
    const refreshing = timeline.refresh();
    expect(asked.map(({ cache }) => cache)).toEqual(["default", "reload"]);
    for (const { answer } of asked) answer("1");
    await Promise.all([loading, refreshing]);
  });

  test("shows what was asked for last, whatever comes last", async () => {
    const timeline = new Opened("match-42");
    const loading = timeline.load();
    const refreshing = timeline.refresh();
    asked[1]?.answer("new");
    await refreshing;
    asked[0]?.answer("old");
    await loading;
    expect(timeline.detail.value?.version).toBe("new");
  });

  test("is asked for a time by the digits it was written with, else by microseconds", async () => {
    const timeline = new Opened("match-42");
    const seeking = [timeline.findTime(62.5, "1:02.5 s"), timeline.findTime(2)];
    expect(asked.map(({ url }) => url.replace(/.*\/at\//, ""))).toEqual([
      "1%3A02.5%20s",
      "2.000000",
    ]);
    for (const { answer } of asked) answer("1");
    await Promise.all(seeking);
  });
});
