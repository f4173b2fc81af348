import { describe, expect, test } from "vitest";
import { BINDINGS, commandForKey, helpGroups, type KeyPress } from "../src/lib/shortcuts";

const plain: KeyPress = { key: "", shiftKey: false, ctrlKey: false, altKey: false, metaKey: false };

describe("keyboard shortcuts", () => {
  test.each([
    ["d", {}, { type: "step", frames: -1 }],
    ["F", {}, { type: "step", frames: 1 }],
    [",", {}, { type: "step", frames: -1 }],
    [".", {}, { type: "step", frames: 1 }],
    ["ArrowLeft", {}, { type: "step", frames: -1 }],
    ["ArrowRight", { shiftKey: true }, { type: "step", frames: 10 }],
    ["ArrowRight", { ctrlKey: true }, { type: "overlay", direction: 1 }],
    ["ArrowLeft", { metaKey: true }, { type: "overlay", direction: -1 }],
    ["c", {}, { type: "step", frames: -10 }],
    ["v", {}, { type: "step", frames: 10 }],
    ["5", {}, { type: "percent", percent: 50 }],
    ["?", { shiftKey: true }, { type: "help" }],
    [" ", {}, { type: "play" }],
  ])("map %s with %j to its command", (key, modifiers, command) => {
    expect(commandForKey({ ...plain, key, ...modifiers })).toEqual(command);
  });

  test.each([
    ["c", { ctrlKey: true }],
    ["r", { ctrlKey: true }],
    ["d", { altKey: true }],
    ["5", { ctrlKey: true }],
    ["q", {}],
  ])("leave %s with %j to the browser", (key, modifiers) => {
    expect(commandForKey({ ...plain, key, ...modifiers })).toBeNull();
  });

  test("bind each key once", () => {
    const all = BINDINGS.flatMap(({ keys, modifier }) => keys.map((key) => `${modifier} ${key}`));
    expect(new Set(all).size).toBe(all.length);
  });

  test("are all in the help", () => {
    const labels = [...helpGroups().values()].flat().map(({ label }) => label);
    for (const { label } of BINDINGS) expect(labels).toContain(label);
  });
});
