import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  BLENDS,
  COMPARE_MODES,
  EMPTY_VIEW,
  formatView,
  isId,
  parseView,
  type ViewState,
} from "../src/pure/address";

const id = fc
  .stringMatching(/^[A-Za-z0-9][A-Za-z0-9._:@+=,~-]{0,12}$/)
  .filter((text) => isId(text));
const stage = fc.record({ job: id, stage: id });
const layer = fc.record({
  job: id,
  stage: id,
  name: id,
  opacity: fc.integer({ min: 0, max: 100 }).map((hundredths) => hundredths / 100),
  blend: fc.constantFrom(null, ...BLENDS),
});
const view: fc.Arbitrary<ViewState> = fc.record({
  timeline: fc.option(id),
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

describe("the address", () => {
  test("tells every view, and gives it back", () => {
    fc.assert(
      fc.property(view, (given) => {
        expect(parseView(formatView(given))).toEqual(given);
      }),
    );
  });

  test("is empty for the view without anything chosen", () => {
    expect(formatView(EMPTY_VIEW)).toBe("");
  });

  test("reads as it was meant, without escapes", () => {
    const search = "?timeline=match-42&frame=120&show=run-7/edges/mask:0.5,run-7/boxes/box";
    expect(formatView(parseView(search))).toBe(search);
  });

  test("passes over whatever it cannot mean, and raises nothing", () => {
    fc.assert(
      fc.property(fc.string(), (search) => {
        const parsed = parseView(search);
        expect(parseView(formatView(parsed))).toEqual(parsed);
      }),
    );
  });

  test.each(["..", "a..b", "-a", "", "a/b", "a b", "a".repeat(129)])(
    "refuses the id %j",
    (text) => {
      expect(isId(text)).toBe(false);
    },
  );
});
