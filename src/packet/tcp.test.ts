import fc from "fast-check";
import { expect, test } from "vitest";
import { encodeTcp, parseTcp, TCP_FLAG } from "./tcp.ts";

/** A SYN with an MSS option and two bytes of data. */
const segment = () =>
  Uint8Array.from([
    ...[0x9c, 0x40, 0, 80, 0xff, 0xff, 0xff, 0xfe, 0x80, 0, 0, 1],
    ...[0x61, 0x42, 0xfa, 0xf0, 0x90, 0xa0, 0, 7],
    ...[2, 4, 5, 180],
    ...[1, 2],
  ]);

test("fields, options as bytes, data", () => {
  const bytes = segment();
  const parsed = parseTcp(bytes);
  expect(parsed).toEqual({
    ok: true,
    value: {
      sourcePort: 40000,
      destinationPort: 80,
      sequence: 0xfffffffe,
      acknowledgement: 0x80000001,
      headerLength: 24,
      reserved: 1,
      flags: TCP_FLAG.syn | TCP_FLAG.ece,
      window: 64240,
      checksum: 0x90a0,
      urgentPointer: 7,
      options: Uint8Array.of(2, 4, 5, 180),
      data: Uint8Array.of(1, 2),
    },
  });
  expect(parsed.ok && parsed.value.data.buffer).toBe(bytes.buffer);
});

test.each([
  ["headerLength", 0x40],
  ["headerLength", 0x70],
])("%s: data offset byte %i is refused", (field, byte) => {
  const bytes = segment();
  bytes[12] = byte;
  expect(parseTcp(bytes)).toMatchObject({ ok: false, error: { layer: "tcp", field } });
});

test("a header cut short is refused", () => {
  expect(parseTcp(segment().subarray(0, 19))).toMatchObject({ ok: false, error: { field: "header" } });
  expect(parseTcp(segment().subarray(0, 23))).toMatchObject({ ok: false, error: { field: "headerLength" } });
  expect(parseTcp(segment().subarray(0, 24)).ok).toBe(true);
});

test("any bytes: never a throw, encoded as they were", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 15, maxLength: 80, size: "max" }),
      fc.integer({ min: 0, max: 15 }),
      (bytes, words) => {
        bytes[12] = (words << 4) | (bytes[12]! & 0xf);
        const parsed = parseTcp(bytes);
        expect(parsed.ok).toBe(words >= 5 && words * 4 <= bytes.length);
        if (parsed.ok) expect(encodeTcp(parsed.value)).toEqual(bytes);
      },
    ),
    { numRuns: 300 },
  );
});

test("fields that do not fit are refused", () => {
  const parsed = parseTcp(segment());
  if (!parsed.ok) throw new Error(parsed.error.message);
  expect(() => encodeTcp({ ...parsed.value, sequence: 2 ** 32 })).toThrow("sequence");
  expect(() => encodeTcp({ ...parsed.value, headerLength: 21 })).toThrow("not a multiple of 4");
});
