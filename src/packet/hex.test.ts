import fc from "fast-check";
import { expect, test } from "vitest";
import { hexDump, parseHex, toHex } from "./hex.ts";

test("bytes keep their value", () => {
  fc.assert(
    fc.property(fc.uint8Array(), fc.constantFrom("", " ", ":", "-", "\n  "), (bytes, between) => {
      const text = Array.from(bytes, (byte) => toHex(Uint8Array.of(byte))).join(between);
      expect(parseHex(text)).toEqual({ ok: true, value: bytes });
    }),
  );
});

test("either case, and white space around", () => {
  expect(parseHex("\n 0aFf \n")).toEqual({ ok: true, value: Uint8Array.of(0x0a, 0xff) });
});

test.each([
  ["0", 0, '"0"'],
  ["00 0", 2, '"0"'],
  ["00 zz", 2, '"zz"'],
  ["0x00", 0, '"0x00"'],
])("%j is refused", (text, position, found) => {
  expect(parseHex(text)).toEqual({
    ok: false,
    error: {
      layer: "hex",
      field: "digits",
      message: `expected a pair of hex digits at character ${position}, found ${found}`,
    },
  });
});

test("a dump has offset, bytes and ASCII", () => {
  const bytes = new TextEncoder().encode("GET / HTTP/1.1\r\n~");
  expect(hexDump(bytes)).toBe(
    "0000  47 45 54 20 2f 20 48 54 54 50 2f 31 2e 31 0d 0a  GET / HTTP/1.1..\n" +
      "0010  7e                                               ~",
  );
  expect(hexDump(new Uint8Array(0))).toBe("");
});
