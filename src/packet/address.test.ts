import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  ipv4FromBytes,
  ipv4FromUint32,
  ipv4ToBytes,
  ipv4ToUint32,
  isInPrefix,
  isIpv4,
  LINK_LOCAL_PREFIX,
  macFromBytes,
  macToBytes,
  parseIpv4,
  parseMac,
  parsePrefix,
} from "./address.ts";

const uint32 = fc.integer({ min: 0, max: 0xffffffff });

describe("IPv4 addresses", () => {
  test("are read in network order", () => {
    expect(ipv4ToUint32("169.254.169.254")).toBe(0xa9fea9fe);
    expect(ipv4ToBytes("10.0.1.3")).toEqual(Uint8Array.of(10, 0, 1, 3));
    expect(ipv4FromBytes(Uint8Array.of(0, 255, 0, 1, 2), 1)).toBe("255.0.1.2");
  });

  test("keep their value through text, number and bytes", () => {
    fc.assert(
      fc.property(uint32, (address) => {
        const text = ipv4FromUint32(address);
        expect(parseIpv4(text)).toEqual({ ok: true, value: address });
        expect(ipv4FromBytes(ipv4ToBytes(text))).toBe(text);
      }),
    );
  });

  test.each(["", "10.0.1", "10.0.1.3.4", "010.0.1.3", "10.0.1.03", "10.0.1.256", "10.0.1.1000", "10..1.3"])(
    "%j is refused",
    (text) => expect(isIpv4(text)).toBe(false),
  );

  test.each([
    " 10.0.1.3",
    "10.0.1.3\n",
    "0x0a.0.1.3",
    "+1.0.0.1",
    "1e1.0.0.1",
    "::ffff:10.0.1.3",
    "10.0.1.3/32",
  ])("%j is refused", (text) => expect(isIpv4(text)).toBe(false));

  test("the error quotes the text and shows a right one", () => {
    expect(parseIpv4("10.1")).toEqual({
      ok: false,
      error: {
        layer: "address",
        field: "ipv4",
        message:
          '"10.1" is not an IPv4 address; write four numbers from 0 to 255 without leading zeros, such as 10.0.1.3',
      },
    });
    expect(() => ipv4ToBytes("10.1")).toThrow('"10.1" is not an IPv4 address');
  });

  test("too few bytes throw", () => {
    expect(() => ipv4FromBytes(new Uint8Array(3))).toThrow(RangeError);
  });

  test("any text is taken only if it is the canonical form", () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        const parsed = parseIpv4(text);
        return !parsed.ok || ipv4FromUint32(parsed.value) === text;
      }),
    );
  });
});

describe("MAC addresses", () => {
  test("keep their value", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 6, maxLength: 6 }), (bytes) => {
        expect(macToBytes(macFromBytes(bytes))).toEqual(bytes);
      }),
    );
  });

  test("are written in lower case and read in either", () => {
    expect(macFromBytes(macToBytes("02:21:87:A4:05:0C"))).toBe("02:21:87:a4:05:0c");
  });

  test.each([
    "",
    "02:21:87:a4:05",
    "02:21:87:a4:05:0c:0d",
    "2:21:87:a4:05:0c",
    "02-21-87-a4-05-0c",
    "02:21:87:a4:05:0g",
  ])("%j is refused", (text) => {
    expect(parseMac(text)).toMatchObject({ ok: false, error: { layer: "address", field: "mac" } });
    expect(() => macToBytes(text)).toThrow("is not a MAC address");
  });

  test("too few bytes throw", () => {
    expect(() => macFromBytes(new Uint8Array(7), 2)).toThrow("6 bytes, got 5");
  });
});

describe("prefixes", () => {
  test.each([
    ["169.254.0.0", LINK_LOCAL_PREFIX, true],
    ["169.254.255.255", LINK_LOCAL_PREFIX, true],
    ["169.253.255.255", LINK_LOCAL_PREFIX, false],
    ["169.255.0.0", LINK_LOCAL_PREFIX, false],
    ["255.255.255.255", "0.0.0.0/0", true],
    ["10.0.1.3", "10.0.1.3/32", true],
    ["10.0.1.2", "10.0.1.3/32", false],
    ["200.1.2.3", "128.0.0.0/1", true],
    ["100.1.2.3", "128.0.0.0/1", false],
  ])("%s in %s: %s", (address, prefix, expected) => expect(isInPrefix(address, prefix)).toBe(expected));

  test("membership is a comparison of leading bits", () => {
    fc.assert(
      fc.property(uint32, uint32, fc.integer({ min: 1, max: 32 }), (address, other, length) => {
        const first = ((other >>> (32 - length)) << (32 - length)) >>> 0;
        const expected = address >>> (32 - length) === other >>> (32 - length);
        expect(isInPrefix(ipv4FromUint32(address), `${ipv4FromUint32(first)}/${length}`)).toBe(expected);
      }),
    );
  });

  test.each([
    "169.254.0.0",
    "169.254.0.0/",
    "169.254.0.0/33",
    "169.254.0.0/016",
    "169.254/16",
    "1.2.3.4/32/1",
  ])("%j is refused", (text) =>
    expect(parsePrefix(text)).toMatchObject({ ok: false, error: { field: "prefix" } }),
  );

  test("bits beyond the length are refused, and the right prefix is named", () => {
    const parsed = parsePrefix("10.0.1.3/24");
    expect(parsed.ok ? "" : parsed.error.message).toContain("the prefix is 10.0.1.0/24");
  });
});
