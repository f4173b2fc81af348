/** Parser of RFC 7578 forms in memory: `Response.formData` blocks on the browser for each part. */

const CARRIAGE_RETURN = 13;
const NAME = /^content-disposition:[^\r]*[; ]name="([^"]*)"/im;
const HEADER_END = Uint8Array.of(13, 10, 13, 10);

/** Return the boundary in a content type. */
export function parseBoundary(contentType: string): string | null {
  return /;\s*boundary="?([^";]+)"?/i.exec(contentType)?.[1] ?? null;
}

/** Return the parts of a form by name. Incomplete parts at the end are left out. */
export function parseMultipart(
  body: Uint8Array<ArrayBuffer>,
  boundary: string,
): Map<string, Uint8Array<ArrayBuffer>> {
  const encoder = new TextEncoder();
  const decoder = new TextDecoder();
  const delimiter = encoder.encode(`\r\n--${boundary}`);
  const parts = new Map<string, Uint8Array<ArrayBuffer>>();
  // The first delimiter has no line break before it.
  let start = delimiter.length - 2;
  for (;;) {
    const headerStop = indexOfPattern(body, HEADER_END, start);
    const contentStart = headerStop + HEADER_END.length;
    const stop = headerStop < 0 ? -1 : indexOfPattern(body, delimiter, contentStart);
    if (stop < 0) return parts;
    const name = NAME.exec(decoder.decode(body.subarray(start, headerStop)))?.[1];
    // Copied, because a view would keep the whole body in memory.
    if (name !== undefined) parts.set(name, body.slice(contentStart, stop));
    start = stop + delimiter.length;
  }
}

/** Return the index of a pattern that begins with a carriage return, or -1. */
function indexOfPattern(body: Uint8Array, pattern: Uint8Array, from: number): number {
  let index = body.indexOf(CARRIAGE_RETURN, from);
  while (index >= 0) {
    let length = 1;
    while (length < pattern.length && body[index + length] === pattern[length]) length += 1;
    if (length === pattern.length) return index;
    index = body.indexOf(CARRIAGE_RETURN, index + 1);
  }
  return -1;
}
