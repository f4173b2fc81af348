// @vitest-environment node
import fc from "fast-check";
import { expect, test } from "vitest";
import { parseBoundary, parseMultipart } from "../src/lib/multipart";

/** Encode a form with Node's own encoder, and parse it. */
async function encodeAndParse(parts: readonly (readonly [string, Uint8Array<ArrayBuffer>])[]) {
  const form = new FormData();
  for (const [name, bytes] of parts) form.set(name, new Blob([bytes], { type: "image/png" }), name);
  const response = new Response(form);
  const boundary = parseBoundary(response.headers.get("content-type") ?? "") ?? "";
  return parseMultipart(new Uint8Array(await response.arrayBuffer()), boundary);
}

/** Bytes that often look like delimiters. */
const content = fc
  .array(fc.constantFrom(13, 10, 45, 0, 65), { maxLength: 60 })
  .map((list) => Uint8Array.from(list));

test("each part of a form is parsed with its content", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(content, { maxLength: 5 }), async (contents) => {
      const parts = contents.map((bytes, index) => [`frames/${index}.jpg`, bytes] as const);
      expect(await encodeAndParse(parts)).toEqual(new Map(parts));
    }),
  );
});

test("a truncated form returns its complete parts", () => {
  const body = (text: string) => Uint8Array.from(new TextEncoder().encode(text));
  const head = 'Content-Disposition: form-data; name="';
  const cut = body(`--b\r\n${head}one"\r\n\r\n1\r\n--b\r\n${head}two"\r\n\r\n2`);
  expect([...parseMultipart(cut, "b").keys()]).toEqual(["one"]);
  expect(parseMultipart(body(""), "b").size).toBe(0);
});

test("a boundary is parsed with and without quotes", () => {
  expect(parseBoundary("multipart/form-data; boundary=abc")).toBe("abc");
  expect(parseBoundary('multipart/form-data; boundary="a b"')).toBe("a b");
  expect(parseBoundary("text/html")).toBeNull();
});
