import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ipv4FromUint32 } from "../packet/address.ts";
import { parseHex, toHex } from "../packet/hex.ts";
import { type ClasslessRoute, decodeClasslessRoutes, encodeClasslessRoutes } from "./classless-routes.ts";

const address = fc.nat({ max: 0xffffffff }).map(ipv4FromUint32);
const route: fc.Arbitrary<ClasslessRoute> = fc
  .tuple(fc.nat({ max: 0xffffffff }), fc.nat({ max: 32 }), address)
  .map(([bits, length, gateway]) => {
    const size = 2 ** (32 - length);
    return { destination: `${ipv4FromUint32(bits - (bits % size))}/${length}`, gateway };
  });

function bytesOf(hex: string): Uint8Array {
  const parsed = parseHex(hex);
  if (!parsed.ok) throw new Error(parsed.error.message);
  return parsed.value;
}

describe("classless static routes", () => {
  // The destination descriptors of RFC 3442's own table of examples, behind a router.
  it.each([
    ["0.0.0.0/0", "00"],
    ["10.0.0.0/8", "08 0a"],
    ["10.0.0.0/24", "18 0a 00 00"],
    ["10.17.0.0/16", "10 0a 11"],
    ["10.27.129.0/24", "18 0a 1b 81"],
    ["10.229.0.128/25", "19 0a e5 00 80"],
    ["10.198.122.47/32", "20 0a c6 7a 2f"],
    ["169.254.169.254/32", "20 a9 fe a9 fe"],
  ])("%s is %s", (destination, descriptor) => {
    const bytes = bytesOf(`${descriptor} 0a 00 01 01`);
    expect(toHex(encodeClasslessRoutes([{ destination, gateway: "10.0.1.1" }]))).toBe(toHex(bytes));
    expect(decodeClasslessRoutes(bytes)).toEqual({
      ok: true,
      routes: [{ destination, gateway: "10.0.1.1" }],
    });
  });

  it("come back as they were written", () => {
    fc.assert(
      fc.property(fc.array(route, { maxLength: 12 }), (routes) => {
        expect(decodeClasslessRoutes(encodeClasslessRoutes(routes))).toEqual({ ok: true, routes });
      }),
    );
  });

  it("any bytes are routes that can be written again, or say what is wrong", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        const decoded = decodeClasslessRoutes(bytes);
        if (decoded.ok) expect(encodeClasslessRoutes(decoded.routes).length).toBe(bytes.length);
        else expect(decoded.message).toMatch(/octet \d+/);
      }),
    );
  });

  it("masks what a server sends beyond the length", () => {
    expect(decodeClasslessRoutes(bytesOf("19 0a e5 00 ff 0a 00 01 01"))).toEqual({
      ok: true,
      routes: [{ destination: "10.229.0.128/25", gateway: "10.0.1.1" }],
    });
  });

  it.each([
    ["21 a9 fe a9 fe 00 0a 00 01 01", /octet 0 is 33, more than 32/],
    ["00 0a 00 01 01 20 a9 fe a9 fe 0a 00 01", /octet 5 needs 9 octets, 8 are left/],
  ])("refuses %s", (hex, message) => {
    const decoded = decodeClasslessRoutes(bytesOf(hex));
    expect(decoded.ok).toBe(false);
    if (!decoded.ok) expect(decoded.message).toMatch(message);
  });

  it("is not written with a wrong prefix", () => {
    expect(() => encodeClasslessRoutes([{ destination: "10.0.0.1/24", gateway: "10.0.1.1" }])).toThrow(
      RangeError,
    );
  });
});
