import fc from "fast-check";
import { expect, test } from "vitest";
import { normalizePath } from "./path.ts";

test.each([
  ["/", ""],
  ["//", ""],
  ["/latest", "latest"],
  ["/latest/", "latest"],
  ["//latest///meta-data//", "latest/meta-data"],
  ["/%6Catest/a%20b", "latest/a b"],
  ["/latest/../x", "latest/../x"],
])("%s is %s", (path, names) => {
  expect(normalizePath(path)).toBe(names);
});

test.each(["/%", "/%zz", "/%ff", "/a%2fb"])("%s has no names", (path) => {
  expect(normalizePath(path)).toBeUndefined();
});

test("names come back from any encoding of them", () => {
  const name = fc.string({ unit: "grapheme", minLength: 1 }).filter((text) => !text.includes("/"));
  fc.assert(
    fc.property(fc.array(fc.tuple(name, fc.constantFrom("/", "//")), { maxLength: 8 }), (parts) => {
      const path = parts.map(([text, slashes]) => slashes + encodeURIComponent(text)).join("");
      expect(normalizePath(path)).toBe(parts.map(([text]) => text).join("/"));
    }),
  );
});

test("never throws, and gives no empty names", () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(..."%/.2fFe8\0\u00e9") }), (text) => {
      const names = normalizePath(`/${text}`)?.split("/") ?? [];
      expect(names.length <= 1 || names.every((name) => name !== "")).toBe(true);
    }),
  );
});
