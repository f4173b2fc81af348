/** Formatting of numbers, times and sizes, and parsing of seek targets. */

/** Decimals of a time that identify a frame of this duration. A duration of 0 is unknown. */
export function timeDecimals(frameSeconds: number): number {
  return frameSeconds > 0 && frameSeconds < 0.001 ? 6 : 3;
}

/** Format `83.5` as `1:23.500`; with hours if there are any. */
export function formatTime(seconds: number, decimals = 3): string {
  const scale = 10 ** decimals;
  const units = Math.round(Math.abs(seconds) * scale);
  const sign = seconds < 0 && units > 0 ? "-" : "";
  const fraction = pad(units % scale, decimals);
  const whole = Math.floor(units / scale);
  const minutes = Math.floor(whole / 60) % 60;
  const hours = Math.floor(whole / 3600);
  const clock =
    hours > 0
      ? `${hours}:${pad(minutes, 2)}:${pad(whole % 60, 2)}`
      : `${minutes}:${pad(whole % 60, 2)}`;
  return `${sign}${clock}.${fraction}`;
}

/** Format the tick of an axis, with no more digits than a step of `step` seconds needs. */
export function formatTick(seconds: number, step: number): string {
  const text = formatTime(seconds);
  return step >= 1 ? text.slice(0, -4) : text.slice(0, step >= 0.1 ? -2 : undefined);
}

export function formatDuration(seconds: number): string {
  if (seconds < 60) return `${seconds.toFixed(2)} s`;
  return formatTime(seconds).slice(0, -4);
}

export function formatCount(count: number): string {
  return count.toString().replace(/\B(?=(\d{3})+$)/g, "\u202f");
}

export function formatBytes(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  let unit = 0;
  let value = bytes;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 || value >= 99.95 ? value.toFixed(0) : value.toFixed(1)} ${units[unit]}`;
}

export function pluralize(count: number, noun: string): string {
  return `${formatCount(count)} ${noun}${count === 1 ? "" : "s"}`;
}

/** Description of a frame for screen readers. */
export function frameDescription(sequence: number, timestamp: number | null): string {
  const time = timestamp === null ? "" : `, ${timestamp.toFixed(3)} seconds`;
  return `Frame ${sequence}${time}`;
}

/** The state of a timeline, such as `frames_only`, in words. */
export function formatState(state: string): string {
  return state.replace("_", " ");
}

export type SeekTarget =
  | { readonly kind: "sequence"; readonly sequence: number }
  | { readonly kind: "time"; readonly seconds: number; readonly text: string };

/**
 * Parse `120` as a frame, and `4.2`, `4.2s`, `1:23` or `1:02:03.5` as a time; else return null. The
 * text of a time is kept, because its number of digits is the precision of the lookup.
 */
export function parseSeekTarget(text: string): SeekTarget | null {
  const trimmed = text.trim();
  if (/^\d{1,15}$/.test(trimmed)) return { kind: "sequence", sequence: Number(trimmed) };
  const seconds = parseSeconds(trimmed);
  return seconds === null ? null : { kind: "time", seconds, text: trimmed };
}

function parseSeconds(text: string): number | null {
  if (/^(\d{1,12}(\.\d*)?|\.\d+)\s*s$|^\d{1,12}\.\d*$|^\.\d+$/.test(text)) {
    return Number.parseFloat(text);
  }
  const clock = /^(?:(\d{1,6}):(?=[0-5]?\d:))?(\d{1,6}):([0-5]?\d(?:\.\d*)?)\s*s?$/.exec(text);
  if (clock === null) return null;
  const [, hours = "0", minutes = "0", seconds = "0"] = clock;
  return Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds);
}

function pad(value: number, digits: number): string {
  return value.toString().padStart(digits, "0");
}
