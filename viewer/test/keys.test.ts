import { describe, expect, test } from "vitest";
import { BINDINGS, commandOf, helpGroups, type KeyPress } from "../src/pure/keys";

const plain: KeyPress = { key: "", shiftKey: false, ctrlKey: false, altKey: false, metaKey: false };

describe("a key", () => {
  test.each([
    ["d", {}, { do: "step", frames: -1 }],
    ["F", {}, { do: "step", frames: 1 }],
    [",", {}, { do: "step", frames: -1 }],
    [".", {}, { do: "step", frames: 1 }],
    ["ArrowLeft", {}, { do: "step", frames: -1 }],
    ["ArrowRight", { shiftKey: true }, { do: "step", frames: 10 }],
    ["ArrowRight", { ctrlKey: true }, { do: "overlay", direction: 1 }],
    ["ArrowLeft", { metaKey: true }, { do: "overlay", direction: -1 }],
    ["c", {}, { do: "step", frames: -10 }],
    ["v", {}, { do: "step", frames: 10 }],
    ["5", {}, { do: "percent", percent: 50 }],
    ["?", { shiftKey: true }, { do: "help" }],
    [" ", {}, { do: "play" }],
  ])("%s with %j does what it says", (key, modifiers, command) => {
    expect(commandOf({ ...plain, key, ...modifiers })).toEqual(command);
  });

  test.each([
    ["c", { ctrlKey: true }],
    ["r", { ctrlKey: true }],
    ["d", { altKey: true }],
    ["5", { ctrlKey: true }],
    ["q", {}],
  ])("%s with %j stays the browser's", (key, modifiers) => {
    expect(commandOf({ ...plain, key, ...modifiers })).toBeNull();
  });

  test("means one thing", () => {
    const all = BINDINGS.flatMap(({ keys, modifier }) => keys.map((key) => `${modifier} ${key}`));
    expect(new Set(all).size).toBe(all.length);
  });

  test("is in the help", () => {
    const labels = [...helpGroups().values()].flat().map(({ label }) => label);
    for (const { label } of BINDINGS) expect(labels).toContain(label);
  });
});
