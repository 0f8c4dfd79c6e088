import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { encodeIpv4, isFragment, parseIpv4, parseIpv4Header, uncheckedIpv4Destination } from "./ipv4.ts";

/** 24 bytes of header (a router alert option), 4 of payload, 3 of padding. */
function packet(): Uint8Array {
  return Uint8Array.from([
    ...[0x46, 0xb9, 0, 28, 0x12, 0x34, 0x40, 0, 63, 17, 0xab, 0xcd, 10, 0, 1, 3, 169, 254, 169, 254],
    ...[0x94, 4, 0, 0],
    ...[1, 2, 3, 4],
    ...[0xee, 0xee, 0xee],
  ]);
}

test("fields, options as bytes, and a payload that ends before the padding", () => {
  const bytes = packet();
  const parsed = parseIpv4(bytes);
  expect(parsed).toEqual({
    ok: true,
    value: {
      headerLength: 24,
      tos: 0xb9,
      totalLength: 28,
      identification: 0x1234,
      reservedFlag: false,
      dontFragment: true,
      moreFragments: false,
      fragmentOffset: 0,
      ttl: 63,
      protocol: 17,
      checksum: 0xabcd,
      source: "10.0.1.3",
      destination: "169.254.169.254",
      options: Uint8Array.of(0x94, 4, 0, 0),
      payload: Uint8Array.of(1, 2, 3, 4),
    },
  });
  expect(parsed.ok && parsed.value.payload.buffer).toBe(bytes.buffer);
});

describe("one lie per packet", () => {
  test.each([
    ["version", "version 6", (bytes: Uint8Array) => bytes.fill(0x66, 0, 1)],
    ["headerLength", "ihl 4", (bytes: Uint8Array) => bytes.fill(0x44, 0, 1)],
    ["headerLength", "ihl beyond the end", (bytes: Uint8Array) => bytes.fill(0x4f, 0, 1)],
    ["totalLength", "total length less than the header", (bytes: Uint8Array) => bytes.fill(23, 3, 4)],
    ["totalLength", "total length beyond the end", (bytes: Uint8Array) => bytes.fill(32, 3, 4)],
    ["header", "cut short", (bytes: Uint8Array) => bytes.subarray(0, 19)],
  ])("%s: %s", (field, _, lie) => {
    expect(parseIpv4(lie(packet()))).toMatchObject({ ok: false, error: { layer: "ipv4", field } });
  });

  test("the total length may equal what is there", () => {
    const bytes = packet();
    bytes[3] = 31;
    expect(parseIpv4(bytes)).toMatchObject({ ok: true, value: { payload: { length: 7 } } });
  });

  test("a header alone may announce more than is there", () => {
    const bytes = packet().subarray(0, 24);
    expect(parseIpv4(bytes).ok).toBe(false);
    expect(parseIpv4Header(bytes)).toMatchObject({ ok: true, value: { totalLength: 28 } });
  });
});

test.each([
  [0x2000, { moreFragments: true, fragmentOffset: 0 }, true],
  [0x2001, { moreFragments: true, fragmentOffset: 8 }, true],
  [0x1fff, { moreFragments: false, fragmentOffset: 65528 }, true],
  [0xc000, { reservedFlag: true, dontFragment: true, moreFragments: false, fragmentOffset: 0 }, false],
])("flags and offset %i", (word, expected, fragment) => {
  const bytes = packet();
  bytes[6] = word >> 8;
  bytes[7] = word & 0xff;
  const parsed = parseIpv4(bytes);
  expect(parsed).toMatchObject({ ok: true, value: expected });
  expect(parsed.ok && isFragment(parsed.value)).toBe(fragment);
});

test("any bytes: never a throw, lengths respected, encoded as they were", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 0, maxLength: 80, size: "max" }),
      fc.integer({ min: 0, max: 90 }),
      (bytes, total) => {
        if (bytes.length > 3) {
          bytes[0] = 0x40 | (bytes[0]! & 0xf);
          bytes[2] = 0;
          bytes[3] = total;
        }
        const parsed = parseIpv4(bytes);
        if (!parsed.ok) return;
        expect(parsed.value.totalLength).toBe(total);
        expect(parsed.value.headerLength + parsed.value.payload.length).toBe(total);
        expect(encodeIpv4(parsed.value)).toEqual(bytes.subarray(0, total));
      },
    ),
    { numRuns: 500 },
  );
});

test("fields that do not fit are refused", () => {
  const parsed = parseIpv4(packet());
  if (!parsed.ok) throw new Error(parsed.error.message);
  expect(() => encodeIpv4({ ...parsed.value, fragmentOffset: 4 })).toThrow("not a multiple of 8");
  expect(() => encodeIpv4({ ...parsed.value, headerLength: 64 })).toThrow("headerLength");
  expect(() => encodeIpv4({ ...parsed.value, totalLength: 65536 })).toThrow("totalLength");
});

test("the destination can be had from a header that lies, but not from a stump", () => {
  const bytes = packet();
  bytes[0] = 0;
  expect(uncheckedIpv4Destination(bytes)).toBe("169.254.169.254");
  expect(uncheckedIpv4Destination(bytes.subarray(0, 20))).toBe("169.254.169.254");
  expect(uncheckedIpv4Destination(bytes.subarray(0, 19))).toBeUndefined();
});
