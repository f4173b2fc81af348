/** The page's address holds the whole state of the view; this is its codec. */

export const BLENDS = ["normal", "screen", "multiply", "difference"] as const;
export type Blend = (typeof BLENDS)[number];

export const COMPARE_MODES = ["side", "swipe", "blink", "difference"] as const;
export type CompareMode = (typeof COMPARE_MODES)[number];

export interface StageRef {
  readonly job: string;
  readonly stage: string;
}

/** An overlay name that is drawn; layers later in a list lie on top. */
export interface Layer extends StageRef {
  readonly name: string;
  /** 0…1, in hundredths. */
  readonly opacity: number;
  /** How it is laid over the frame; null: by what the picture is. */
  readonly blend: Blend | null;
}

export interface Comparison {
  readonly mode: CompareMode;
  /** What is drawn on the first side; null: the layers that are shown. */
  readonly a: StageRef | null;
  /** What is drawn on the second side; null: the layers shown, or the bare frame. */
  readonly b: StageRef | null;
  /** The timeline of the second side; null: the same. */
  readonly timeline: string | null;
  /** How frames of two timelines are matched. */
  readonly match: "sequence" | "time";
}

export interface ViewState {
  readonly timeline: string | null;
  readonly query: string;
  readonly sequence: number | null;
  /** Null: the viewer's choice. */
  readonly layers: readonly Layer[] | null;
  readonly comparison: Comparison | null;
}

export const EMPTY_VIEW: ViewState = {
  timeline: null,
  query: "",
  sequence: null,
  layers: null,
  comparison: null,
};

const ID = /^[A-Za-z0-9][A-Za-z0-9._:@+=,~-]{0,127}$/;

export function isId(text: string): boolean {
  return ID.test(text) && !text.includes("..");
}

/** The state that an address's query asks for; what it cannot mean is passed over. */
export function parseView(search: string): ViewState {
  const given = new URLSearchParams(search);
  const timeline = given.get("timeline");
  const frame = given.get("frame");
  const show = given.get("show");
  return {
    timeline: timeline !== null && isId(timeline) ? timeline : null,
    query: given.get("q") ?? "",
    sequence: frame !== null && /^\d{1,15}$/.test(frame) ? Number(frame) : null,
    layers: show === null ? null : show.split(",").flatMap((text) => parseLayer(text) ?? []),
    comparison: parseComparison(given),
  };
}

/** The query of a state, from `?` on, or empty. Ids of letters, digits and `._-` need no escapes. */
export function formatView(view: ViewState): string {
  const parts: string[] = [];
  if (view.query !== "") parts.push(`q=${encodeURIComponent(view.query)}`);
  if (view.timeline !== null) parts.push(`timeline=${encodeURIComponent(view.timeline)}`);
  if (view.sequence !== null) parts.push(`frame=${view.sequence}`);
  if (view.layers !== null) parts.push(`show=${view.layers.map(formatLayer).join(",")}`);
  if (view.comparison !== null) {
    const { mode, a, b, timeline, match } = view.comparison;
    parts.push(`compare=${mode}`);
    if (a !== null) parts.push(`a=${stagePath(a)}`);
    if (b !== null) parts.push(`b=${stagePath(b)}`);
    if (timeline !== null) parts.push(`with=${encodeURIComponent(timeline)}`);
    if (match === "time") parts.push("match=time");
  }
  return parts.length === 0 ? "" : `?${parts.join("&")}`;
}

export function formatStage(ref: StageRef): string {
  return `${ref.job}/${ref.stage}`;
}

/** A stage as a part of a URL. */
export function stagePath(ref: StageRef): string {
  return `${encodeURIComponent(ref.job)}/${encodeURIComponent(ref.stage)}`;
}

export function parseStage(text: string | null): StageRef | null {
  const [job = "", stage = "", ...rest] = (text ?? "").split("/");
  return isId(job) && isId(stage) && rest.length === 0 ? { job, stage } : null;
}

export function layerKey(layer: StageRef & { readonly name: string }): string {
  return `${layer.job}/${layer.stage}/${layer.name}`;
}

export function sameStage(one: StageRef | null, other: StageRef | null): boolean {
  return one?.job === other?.job && one?.stage === other?.stage;
}

function formatLayer(layer: Layer): string {
  const blend = layer.blend === null ? "" : `:${layer.blend}`;
  const opacity = layer.opacity === 1 && blend === "" ? "" : `:${layer.opacity}`;
  const path = `${stagePath(layer)}/${encodeURIComponent(layer.name)}`;
  // A query is decoded once before it is split at what ids may hold, too.
  return `${path.replaceAll("%", "%25")}${opacity}${blend}`;
}

function parseLayer(text: string): Layer | null {
  const [path = "", opacity = "1", blend = null] = text.split(":");
  const [job = "", stage = "", name = "", ...rest] = path.split("/").map(decoded);
  if (![job, stage, name].every(isId) || rest.length > 0) return null;
  if (!/^(0|1|0?\.\d{1,2})$/.test(opacity)) return null;
  return { job, stage, name, opacity: Number(opacity), blend: oneOf(BLENDS, blend) };
}

/** What a part of an address stands for; what is escaped as nothing is stays, and is no id. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function parseComparison(given: URLSearchParams): Comparison | null {
  const mode = oneOf(COMPARE_MODES, given.get("compare"));
  if (mode === null) return null;
  const timeline = given.get("with");
  return {
    mode,
    a: parseStage(given.get("a")),
    b: parseStage(given.get("b")),
    timeline: timeline !== null && isId(timeline) ? timeline : null,
    match: given.get("match") === "time" ? "time" : "sequence",
  };
}

function oneOf<T extends string>(values: readonly T[], text: string | null): T | null {
  return values.find((value) => value === text) ?? null;
}
