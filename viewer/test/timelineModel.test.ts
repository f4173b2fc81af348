import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { TimelineModel } from "../src/model/timelineModel";

/** Requests so far; the test responds to them in any order. */
const requests: {
  url: string;
  cache: RequestCache | undefined;
  respond: (version: string) => void;
}[] = [];

beforeEach(() => {
  requests.length = 0;
  vi.stubGlobal("fetch", (url: string, init: RequestInit) => {
    return new Promise<Response>((resolve) => {
      const respond = (version: string) => resolve(Response.json({ version, cached_count: 1 }));
      requests.push({ url, cache: init.cache, respond });
    });
  });
});
afterEach(() => {
  vi.unstubAllGlobals();
});

describe("TimelineModel", () => {
  test("bypasses the HTTP cache when refreshing, but not when loading", async () => {
    const timeline = new TimelineModel("match-42");
    const loading = timeline.load();
    const refreshing = timeline.refresh();
    expect(requests.map(({ cache }) => cache)).toEqual(["default", "reload"]);
    for (const { respond } of requests) respond("1");
    await Promise.all([loading, refreshing]);
  });

  test("keeps the response of the latest request if responses arrive out of order", async () => {
    const timeline = new TimelineModel("match-42");
    const loading = timeline.load();
    const refreshing = timeline.refresh();
    requests[1]?.respond("new");
    await refreshing;
    requests[0]?.respond("old");
    await loading;
    expect(timeline.detail.value?.version).toBe("new");
  });

  test("refreshes once for the commits of a few seconds, and not after it is closed", async () => {
    vi.useFakeTimers();
    const timeline = new TimelineModel("match-42");
    for (let commit = 0; commit < 5; commit++) timeline.refreshSoon();
    expect(requests).toHaveLength(0);
    await vi.advanceTimersByTimeAsync(5000);
    expect(requests.map(({ cache }) => cache)).toEqual(["reload"]);
    timeline.refreshSoon();
    timeline.close();
    await vi.advanceTimersByTimeAsync(5000);
    expect(requests).toHaveLength(1);
    vi.useRealTimers();
  });

  test("requests a time with the digits of its text, else in microseconds", async () => {
    const timeline = new TimelineModel("match-42");
    const seeking = [timeline.findPositionAtTime(62.5, "1:02.5 s"), timeline.findPositionAtTime(2)];
    expect(requests.map(({ url }) => url.replace(/.*\/at\//, ""))).toEqual([
      "1%3A02.5%20s",
      "2.000000",
    ]);
    for (const { respond } of requests) respond("1");
    await Promise.all(seeking);
  });
});
