import fc from "fast-check";
import { expect, test } from "vitest";
import { encodeUdp, parseUdp } from "./udp.ts";

const datagram = () => Uint8Array.of(0x9c, 0x41, 0, 53, 0, 10, 0xab, 0xcd, 1, 2, 0xee);

test("fields, data up to the length, and what lies beyond it", () => {
  const bytes = datagram();
  const parsed = parseUdp(bytes);
  expect(parsed).toEqual({
    ok: true,
    value: {
      sourcePort: 40001,
      destinationPort: 53,
      length: 10,
      checksum: 0xabcd,
      data: Uint8Array.of(1, 2),
      surplus: Uint8Array.of(0xee),
    },
  });
  expect(parsed.ok && parsed.value.data.buffer).toBe(bytes.buffer);
});

test.each([
  ["length", 7],
  ["length", 12],
])("a %s of %i is refused", (field, length) => {
  const bytes = datagram();
  bytes[5] = length;
  expect(parseUdp(bytes)).toMatchObject({ ok: false, error: { layer: "udp", field } });
});

test("a first fragment holds less than the length says", () => {
  const bytes = datagram();
  bytes[5] = 200;
  expect(parseUdp(bytes, { firstFragment: true })).toMatchObject({
    ok: true,
    value: { length: 200, data: { length: 3 }, surplus: { length: 0 } },
  });
  expect(parseUdp(bytes.subarray(0, 7), { firstFragment: true }).ok).toBe(false);
});

test("any bytes: never a throw, lengths respected, encoded as they were", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 40, size: "max" }),
      fc.nat(50),
      fc.boolean(),
      (bytes, length, firstFragment) => {
        if (bytes.length > 5) bytes.set([0, length], 4);
        const parsed = parseUdp(bytes, { firstFragment });
        if (!parsed.ok) return;
        expect(parsed.value.data.length + 8).toBe(Math.min(length, bytes.length));
        expect(encodeUdp(parsed.value)).toEqual(bytes);
      },
    ),
  );
});

test("a port that does not fit is refused", () => {
  const parsed = parseUdp(datagram());
  if (!parsed.ok) throw new Error(parsed.error.message);
  expect(() => encodeUdp({ ...parsed.value, destinationPort: 65616 })).toThrow("destinationPort: 65616");
});
