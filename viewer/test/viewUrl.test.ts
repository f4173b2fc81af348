import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  BLEND_MODES,
  COMPARE_MODES,
  EMPTY_VIEW,
  formatView,
  isValidId,
  parseView,
  type ViewState,
} from "../src/lib/viewUrl";

const id = fc
  .stringMatching(/^[A-Za-z0-9][A-Za-z0-9._:@+=,~-]{0,12}$/)
  .filter((text) => isValidId(text));
const stage = fc.record({ job: id, stage: id });
const layer = fc.record({
  job: id,
  stage: id,
  name: id,
  opacity: fc.integer({ min: 0, max: 100 }).map((hundredths) => hundredths / 100),
  blend: fc.constantFrom(null, ...BLEND_MODES),
});
const view: fc.Arbitrary<ViewState> = fc.record({
  timeline: fc.option(id),
  invalidId: fc.constant(null),
  query: fc.string(),
  sequence: fc.option(fc.nat()),
  layers: fc.option(fc.array(layer, { maxLength: 6 })),
  comparison: fc.option(
    fc.record({
      mode: fc.constantFrom(...COMPARE_MODES),
      a: fc.option(stage),
      b: fc.option(stage),
      timeline: fc.option(id),
      match: fc.constantFrom("sequence" as const, "time" as const),
    }),
  ),
});

describe("the view URL", () => {
  test("restores every view that was formatted", () => {
    fc.assert(
      fc.property(view, (state) => {
        expect(parseView(formatView(state))).toEqual(state);
      }),
    );
  });

  test("is empty for the empty view", () => {
    expect(formatView(EMPTY_VIEW)).toBe("");
  });

  test("has no escapes for common ids", () => {
    const search = "?timeline=match-42&frame=120&show=run-7/edges/mask:0.5,run-7/boxes/box";
    expect(formatView(parseView(search))).toBe(search);
  });

  test("ignores invalid parts without throwing", () => {
    fc.assert(
      fc.property(fc.string(), (search) => {
        const parsed = parseView(search);
        expect(parseView(formatView(parsed))).toEqual(parsed);
      }),
    );
  });

  test.each(["..", "a..b", "-a", "", "a/b", "a b", "a".repeat(129)])(
    "rejects the id %j",
    (text) => {
      expect(isValidId(text)).toBe(false);
    },
  );
});
