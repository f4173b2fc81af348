import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { moveItem, rejectionReason, uniqueUploadNames } from "../src/lib/uploadFiles";

const file = (name: string, type: string, size = 10) => ({ name, type, size });

describe("a file for upload", () => {
  test.each([
    ["a.mp4", "video/mp4"],
    ["a.ts", "text/vnd.trolltech.linguist"],
    ["a.MKV", ""],
    ["raw", ""],
  ])("is accepted if it may be a video: %s, %s", (name, type) => {
    expect(rejectionReason(file(name, type), 100)).toBeNull();
  });

  test("is rejected with the reason", () => {
    expect(rejectionReason(file("a.txt", "text/plain"), 100)).toBe(
      "It is not a video, but text/plain.",
    );
    expect(rejectionReason(file("a.mp4", "video/mp4", 0), 100)).toBe("It is empty.");
    expect(rejectionReason(file("a.mp4", "video/mp4", 101), 100)).toContain("accepts up to 100 B");
  });
});

test("upload names are unique and valid", () => {
  fc.assert(
    fc.property(fc.array(fc.string(), { maxLength: 8 }), (names) => {
      const uploadNames = uniqueUploadNames(names);
      expect(new Set(uploadNames).size).toBe(names.length);
      for (const name of uploadNames) {
        expect(name).toMatch(/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/);
        expect(name).not.toContain("..");
      }
    }),
  );
});

test("moving an item keeps the order of the others", () => {
  expect(moveItem(["a", "b", "c"], 2, 0)).toEqual(["c", "a", "b"]);
  expect(moveItem(["a", "b", "c"], 0, 1)).toEqual(["b", "a", "c"]);
});
