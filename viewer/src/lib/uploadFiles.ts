/** Validation of files for upload, and their names. */
import { formatBytes } from "./format";

/** File that cannot be uploaded. */
export interface RejectedFile {
  readonly name: string;
  readonly reason: string;
}

/** Extensions of videos, because browsers do not know the type of each. */
export const VIDEO_EXTENSIONS = [
  ".mkv",
  ".ts",
  ".mts",
  ".m2ts",
  ".mxf",
  ".avi",
  ".flv",
  ".mov",
  ".mp4",
];

/** Return why a file cannot be uploaded as a video; null if it can. */
export function rejectionReason(
  file: { readonly name: string; readonly type: string; readonly size: number },
  maxBytes: number,
): string | null {
  if (file.size === 0) return "It is empty.";
  const hasVideoExtension = VIDEO_EXTENSIONS.some((extension) =>
    file.name.toLowerCase().endsWith(extension),
  );
  if (!hasVideoExtension && file.type !== "" && !/^(video\/|application\/mxf)/.test(file.type)) {
    return `It is not a video, but ${file.type}.`;
  }
  if (file.size > maxBytes) {
    return `The service accepts up to ${formatBytes(maxBytes)}. Extract it by command instead.`;
  }
  return null;
}

/** Return unique names that the service accepts, one for each file name. */
export function uniqueUploadNames(names: readonly string[]): string[] {
  const used = new Set<string>();
  return names.map((name) => {
    const safe = name.replace(/[^A-Za-z0-9._-]+/g, "-").replace(/\.{2,}/g, ".");
    const cleaned = safe.replace(/^[^A-Za-z0-9]+/, "").slice(-100) || "video";
    let unique = cleaned;
    for (let number = 2; used.has(unique); number += 1) unique = `${number}-${cleaned}`;
    used.add(unique);
    return unique;
  });
}

/** Derive a timeline id from a file name. */
export function timelineIdFromFileName(name: string): string {
  return name
    .replace(/\.[A-Za-z0-9]{1,5}$/, "")
    .replace(/[^A-Za-z0-9_-]+/g, "-")
    .replace(/^[^A-Za-z0-9]+|-+$/g, "")
    .slice(0, 128);
}

/** Return a copy of a list with one item moved. */
export function moveItem<T>(list: readonly T[], from: number, to: number): T[] {
  const rest = list.toSpliced(from, 1);
  return rest.toSpliced(to, 0, ...list.slice(from, from + 1));
}
