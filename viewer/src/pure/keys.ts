/** Which key does what. The help lists the same table, so it cannot tell otherwise. */

export type Command =
  | { readonly do: "step"; readonly frames: number }
  | { readonly do: "edge"; readonly edge: "first" | "last" }
  | { readonly do: "overlay"; readonly direction: -1 | 1 }
  | { readonly do: "difference"; readonly direction: -1 | 1 }
  | { readonly do: "percent"; readonly percent: number }
  | { readonly do: "opacity"; readonly change: number }
  | { readonly do: "play" | "goTo" | "hide" | "compare" | "reset" | "metadata" | "help" | "close" };

interface Binding {
  /** `KeyboardEvent.key`, letters in lower case. */
  readonly keys: readonly string[];
  readonly modifier?: "shift" | "control";
  readonly command: Command;
  readonly group: string;
  readonly label: string;
}

const MOVE = "Move";
const LOOK = "Look";

export const BINDINGS: readonly Binding[] = [
  bind([" "], { do: "play" }, MOVE, "Play, pause"),
  bind(["d", ",", "ArrowLeft"], { do: "step", frames: -1 }, MOVE, "One frame back"),
  bind(["f", ".", "ArrowRight"], { do: "step", frames: 1 }, MOVE, "One frame on"),
  bind(["c"], { do: "step", frames: -10 }, MOVE, "Ten frames back"),
  bind(["v"], { do: "step", frames: 10 }, MOVE, "Ten frames on"),
  bind(["ArrowLeft"], { do: "step", frames: -10 }, MOVE, "Ten frames back", "shift"),
  bind(["ArrowRight"], { do: "step", frames: 10 }, MOVE, "Ten frames on", "shift"),
  bind(["ArrowLeft"], { do: "overlay", direction: -1 }, MOVE, "Previous overlay", "control"),
  bind(["ArrowRight"], { do: "overlay", direction: 1 }, MOVE, "Next overlay", "control"),
  bind(["Home"], { do: "edge", edge: "first" }, MOVE, "First frame"),
  bind(["End"], { do: "edge", edge: "last" }, MOVE, "Last frame"),
  bind(["g"], { do: "goTo" }, MOVE, "Go to a frame or time"),
  bind(["p"], { do: "difference", direction: -1 }, MOVE, "Previous difference"),
  bind(["n"], { do: "difference", direction: 1 }, MOVE, "Next difference"),
  bind(["h"], { do: "hide" }, LOOK, "Hold: hide overlays"),
  bind(["["], { do: "opacity", change: -0.1 }, LOOK, "Less opacity"),
  bind(["]"], { do: "opacity", change: 0.1 }, LOOK, "More opacity"),
  bind(["x"], { do: "compare" }, LOOK, "Compare: next mode"),
  bind(["r"], { do: "reset" }, LOOK, "Reset zoom and pan"),
  bind(["j"], { do: "metadata" }, LOOK, "Metadata of the frame"),
  bind(["?"], { do: "help" }, LOOK, "This help"),
  bind(["Escape"], { do: "close" }, LOOK, "Close, stop comparing"),
];

export interface KeyPress {
  readonly key: string;
  readonly shiftKey: boolean;
  readonly ctrlKey: boolean;
  readonly altKey: boolean;
  readonly metaKey: boolean;
}

/** The command of a key, or null where the key is the browser's. */
export function commandOf(press: KeyPress): Command | null {
  if (press.altKey) return null;
  const key = press.key.length === 1 ? press.key.toLowerCase() : press.key;
  const control = press.ctrlKey || press.metaKey;
  if (!control && !press.shiftKey && /^\d$/.test(key)) {
    return { do: "percent", percent: Number(key) * 10 };
  }
  const modifier = control ? "control" : press.shiftKey && key.length > 1 ? "shift" : undefined;
  const found = BINDINGS.find((each) => each.modifier === modifier && each.keys.includes(key));
  return found?.command ?? null;
}

export interface HelpRow {
  readonly keys: readonly string[];
  readonly label: string;
}

/** The table of the help: groups of rows, each label once. */
export function helpGroups(): ReadonlyMap<string, readonly HelpRow[]> {
  const groups = new Map<string, Map<string, string[]>>();
  for (const { keys, modifier, group, label } of BINDINGS) {
    const rows = groups.get(group) ?? new Map<string, string[]>();
    groups.set(group, rows);
    rows.set(label, [...(rows.get(label) ?? []), ...keys.map((key) => caption(key, modifier))]);
  }
  groups.get(MOVE)?.set("0 to 90 percent", ["0", "…", "9"]);
  return new Map(
    [...groups].map(([group, rows]) => [
      group,
      [...rows].map(([label, keys]) => ({ label, keys })),
    ]),
  );
}

const CAPTIONS: Readonly<Record<string, string>> = {
  " ": "Space",
  ArrowLeft: "←",
  ArrowRight: "→",
  Escape: "Esc",
};

function caption(key: string, modifier: Binding["modifier"]): string {
  const name = CAPTIONS[key] ?? (key.length === 1 ? key.toUpperCase() : key);
  if (modifier === undefined) return name;
  return `${modifier === "shift" ? "Shift" : "Ctrl"} ${name}`;
}

function bind(
  keys: readonly string[],
  command: Command,
  group: string,
  label: string,
  modifier?: Binding["modifier"],
): Binding {
  return { keys, command, group, label, ...(modifier === undefined ? {} : { modifier }) };
}
