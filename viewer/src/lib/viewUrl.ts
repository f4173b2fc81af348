/** Parsing and formatting of the page's URL, which contains the whole state of the view. */

export const BLEND_MODES = ["normal", "screen", "multiply", "difference"] as const;
export type BlendMode = (typeof BLEND_MODES)[number];

export const COMPARE_MODES = ["side", "swipe", "blink", "difference"] as const;
export type CompareMode = (typeof COMPARE_MODES)[number];

export interface StageRef {
  readonly job: string;
  readonly stage: string;
}

/** Visible overlay name. Later layers of a list are drawn on top. */
export interface Layer extends StageRef {
  readonly name: string;
  /** 0 to 1, in steps of 0.01. */
  readonly opacity: number;
  /** Null: `screen` for gray masks, else `normal`. */
  readonly blend: BlendMode | null;
}

export interface Comparison {
  readonly mode: CompareMode;
  /** Stage on the first side; null: the visible layers. */
  readonly a: StageRef | null;
  /** Stage on the second side; null: the visible layers. */
  readonly b: StageRef | null;
  /** Timeline of the second side; null: the same as that of the first. */
  readonly timeline: string | null;
  /** Key that matches frames of two timelines. */
  readonly match: "sequence" | "time";
}

export interface ViewState {
  readonly timeline: string | null;
  /** Timeline id of the URL, if it is invalid. */
  readonly invalidId: string | null;
  readonly query: string;
  readonly sequence: number | null;
  /** Null: the default layers. */
  readonly layers: readonly Layer[] | null;
  readonly comparison: Comparison | null;
}

export const EMPTY_VIEW: ViewState = {
  timeline: null,
  invalidId: null,
  query: "",
  sequence: null,
  layers: null,
  comparison: null,
};

const ID = /^[A-Za-z0-9][A-Za-z0-9._:@+=,~-]{0,127}$/;

export function isValidId(text: string): boolean {
  return ID.test(text) && !text.includes("..");
}

/** Parse the query of a URL. Invalid parts are ignored. */
export function parseView(search: string): ViewState {
  const params = new URLSearchParams(search);
  const timeline = params.get("timeline");
  const frame = params.get("frame");
  const show = params.get("show");
  return {
    timeline: timeline !== null && isValidId(timeline) ? timeline : null,
    invalidId: timeline !== null && !isValidId(timeline) ? timeline : null,
    query: params.get("q") ?? "",
    sequence: frame !== null && /^\d{1,15}$/.test(frame) ? Number(frame) : null,
    layers: show === null ? null : show.split(",").flatMap((text) => parseLayer(text) ?? []),
    comparison: parseComparison(params),
  };
}

/** Format a state as a query that starts with `?`, or as an empty string. */
export function formatView(view: ViewState): string {
  const parts: string[] = [];
  if (view.query !== "") parts.push(`q=${encodeURIComponent(view.query)}`);
  const timeline = view.timeline ?? view.invalidId;
  if (timeline !== null) parts.push(`timeline=${encodeURIComponent(timeline)}`);
  if (view.sequence !== null) parts.push(`frame=${view.sequence}`);
  if (view.layers !== null) parts.push(`show=${view.layers.map(formatLayer).join(",")}`);
  if (view.comparison !== null) {
    const { mode, a, b, timeline: other, match } = view.comparison;
    parts.push(`compare=${mode}`);
    if (a !== null) parts.push(`a=${stagePath(a)}`);
    if (b !== null) parts.push(`b=${stagePath(b)}`);
    if (other !== null) parts.push(`with=${encodeURIComponent(other)}`);
    if (match === "time") parts.push("match=time");
  }
  return parts.length === 0 ? "" : `?${parts.join("&")}`;
}

export function formatStage(ref: StageRef): string {
  return `${ref.job}/${ref.stage}`;
}

/** Format a stage as two segments of a URL path. */
export function stagePath(ref: StageRef): string {
  return `${encodeURIComponent(ref.job)}/${encodeURIComponent(ref.stage)}`;
}

export function parseStage(text: string | null): StageRef | null {
  const [job = "", stage = "", ...rest] = (text ?? "").split("/");
  return isValidId(job) && isValidId(stage) && rest.length === 0 ? { job, stage } : null;
}

export function layerKey(layer: StageRef & { readonly name: string }): string {
  return `${layer.job}/${layer.stage}/${layer.name}`;
}

export function isSameStage(one: StageRef | null, other: StageRef | null): boolean {
  return one?.job === other?.job && one?.stage === other?.stage;
}

function formatLayer(layer: Layer): string {
  const blend = layer.blend === null ? "" : `:${layer.blend}`;
  const opacity = layer.opacity === 1 && blend === "" ? "" : `:${layer.opacity}`;
  const path = `${stagePath(layer)}/${encodeURIComponent(layer.name)}`;
  // Escaped twice: the query is decoded before it is split, and ids may contain the separators.
  return `${path.replaceAll("%", "%25")}${opacity}${blend}`;
}

function parseLayer(text: string): Layer | null {
  const [path = "", opacity = "1", blend = null] = text.split(":");
  const [job = "", stage = "", name = "", ...rest] = path.split("/").map(safeDecode);
  if (![job, stage, name].every(isValidId) || rest.length > 0) return null;
  if (!/^(0|1|0?\.\d{1,2})$/.test(opacity)) return null;
  return { job, stage, name, opacity: Number(opacity), blend: oneOf(BLEND_MODES, blend) };
}

/** Decode a part of a URL. Invalid escapes are kept; `isValidId` then rejects the part. */
function safeDecode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function parseComparison(params: URLSearchParams): Comparison | null {
  const mode = oneOf(COMPARE_MODES, params.get("compare"));
  if (mode === null) return null;
  const timeline = params.get("with");
  return {
    mode,
    a: parseStage(params.get("a")),
    b: parseStage(params.get("b")),
    timeline: timeline !== null && isValidId(timeline) ? timeline : null,
    match: params.get("match") === "time" ? "time" : "sequence",
  };
}

function oneOf<T extends string>(values: readonly T[], text: string | null): T | null {
  return values.find((value) => value === text) ?? null;
}
