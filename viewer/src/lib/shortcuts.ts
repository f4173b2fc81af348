/** Table of keyboard shortcuts, from which the help dialog is generated. */

export type Command =
  | { readonly type: "step"; readonly frames: number }
  | { readonly type: "edge"; readonly edge: "first" | "last" }
  | { readonly type: "overlay"; readonly direction: -1 | 1 }
  | { readonly type: "difference"; readonly direction: -1 | 1 }
  | { readonly type: "percent"; readonly percent: number }
  | { readonly type: "opacity"; readonly change: number }
  | {
      readonly type:
        | "play"
        | "goTo"
        | "hide"
        | "compare"
        | "reset"
        | "actualSize"
        | "fullScreen"
        | "metadata"
        | "help"
        | "close";
    };

interface Binding {
  /** `KeyboardEvent.key`, letters in lower case. */
  readonly keys: readonly string[];
  readonly modifier?: "shift" | "control";
  readonly command: Command;
  readonly group: string;
  readonly label: string;
}

const MOVE_GROUP = "Move";
const LOOK_GROUP = "Look";

export const BINDINGS: readonly Binding[] = [
  binding([" "], { type: "play" }, MOVE_GROUP, "Play, pause"),
  binding(["d", ",", "ArrowLeft"], { type: "step", frames: -1 }, MOVE_GROUP, "One frame back"),
  binding(["f", ".", "ArrowRight"], { type: "step", frames: 1 }, MOVE_GROUP, "One frame forward"),
  binding(["c"], { type: "step", frames: -10 }, MOVE_GROUP, "Ten frames back"),
  binding(["v"], { type: "step", frames: 10 }, MOVE_GROUP, "Ten frames forward"),
  binding(["ArrowLeft"], { type: "step", frames: -10 }, MOVE_GROUP, "Ten frames back", "shift"),
  binding(["ArrowRight"], { type: "step", frames: 10 }, MOVE_GROUP, "Ten frames forward", "shift"),
  binding(
    ["ArrowLeft"],
    { type: "overlay", direction: -1 },
    MOVE_GROUP,
    "Previous overlay",
    "control",
  ),
  binding(["ArrowRight"], { type: "overlay", direction: 1 }, MOVE_GROUP, "Next overlay", "control"),
  binding(["Home"], { type: "edge", edge: "first" }, MOVE_GROUP, "First frame"),
  binding(["End"], { type: "edge", edge: "last" }, MOVE_GROUP, "Last frame"),
  binding(["g"], { type: "goTo" }, MOVE_GROUP, "Go to a frame or time"),
  binding(["p"], { type: "difference", direction: -1 }, MOVE_GROUP, "Previous difference"),
  binding(["n"], { type: "difference", direction: 1 }, MOVE_GROUP, "Next difference"),
  binding(["h"], { type: "hide" }, LOOK_GROUP, "Hold: hide overlays"),
  binding(["["], { type: "opacity", change: -0.1 }, LOOK_GROUP, "Less opacity"),
  binding(["]"], { type: "opacity", change: 0.1 }, LOOK_GROUP, "More opacity"),
  binding(["x"], { type: "compare" }, LOOK_GROUP, "Compare: next mode"),
  binding(["r"], { type: "reset" }, LOOK_GROUP, "Reset zoom and pan"),
  binding(["z"], { type: "actualSize" }, LOOK_GROUP, "Zoom 1:1, and back"),
  binding(["w"], { type: "fullScreen" }, LOOK_GROUP, "Full screen, and back"),
  binding(["j"], { type: "metadata" }, LOOK_GROUP, "Metadata of the frame"),
  binding(["?"], { type: "help" }, LOOK_GROUP, "This help"),
  binding(["Escape"], { type: "close" }, LOOK_GROUP, "Close, stop comparing"),
];

export interface KeyPress {
  readonly key: string;
  readonly shiftKey: boolean;
  readonly ctrlKey: boolean;
  readonly altKey: boolean;
  readonly metaKey: boolean;
}

/** Return the command of a key, or null to leave the key to the browser. */
export function commandForKey(press: KeyPress): Command | null {
  if (press.altKey) return null;
  const key = press.key.length === 1 ? press.key.toLowerCase() : press.key;
  const control = press.ctrlKey || press.metaKey;
  if (!control && !press.shiftKey && /^\d$/.test(key)) {
    return { type: "percent", percent: Number(key) * 10 };
  }
  const modifier = control ? "control" : press.shiftKey && key.length > 1 ? "shift" : undefined;
  const match = BINDINGS.find((each) => each.modifier === modifier && each.keys.includes(key));
  return match?.command ?? null;
}

export interface HelpRow {
  readonly keys: readonly string[];
  readonly label: string;
}

/** Rows of the help dialog by group. Shortcuts with the same label share a row. */
export function helpGroups(): ReadonlyMap<string, readonly HelpRow[]> {
  const groups = new Map<string, Map<string, string[]>>();
  for (const { keys, modifier, group, label } of BINDINGS) {
    const rows = groups.get(group) ?? new Map<string, string[]>();
    groups.set(group, rows);
    rows.set(label, [...(rows.get(label) ?? []), ...keys.map((key) => keyCaption(key, modifier))]);
  }
  groups.get(MOVE_GROUP)?.set("0 to 90 percent", ["0", "…", "9"]);
  return new Map(
    [...groups].map(([group, rows]) => [
      group,
      [...rows].map(([label, keys]) => ({ label, keys })),
    ]),
  );
}

const KEY_CAPTIONS: Readonly<Record<string, string>> = {
  " ": "Space",
  ArrowLeft: "←",
  ArrowRight: "→",
  Escape: "Esc",
};

function keyCaption(key: string, modifier: Binding["modifier"]): string {
  const name = KEY_CAPTIONS[key] ?? (key.length === 1 ? key.toUpperCase() : key);
  if (modifier === undefined) return name;
  return `${modifier === "shift" ? "Shift" : "Ctrl"} ${name}`;
}

function binding(
  keys: readonly string[],
  command: Command,
  group: string,
  label: string,
  modifier?: Binding["modifier"],
): Binding {
  return { keys, command, group, label, ...(modifier === undefined ? {} : { modifier }) };
}
