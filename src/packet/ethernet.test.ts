import fc from "fast-check";
import { expect, test } from "vitest";
import { ETHER_TYPE, encodeEthernet, isVlanTagged, parseEthernet } from "./ethernet.ts";
import { windowsArpRequest } from "./fixtures.ts";
import { parseHex } from "./hex.ts";

function hex(text: string): Uint8Array {
  const bytes = parseHex(text);
  if (!bytes.ok) throw new Error(bytes.error.message);
  return bytes.value;
}

const MACS = "ff ff ff ff ff ff 02 21 87 a4 05 0c";

test("an untagged frame", () => {
  const bytes = windowsArpRequest();
  const frame = parseEthernet(bytes);
  expect(frame).toEqual({
    ok: true,
    value: {
      destination: "ff:ff:ff:ff:ff:ff",
      source: "02:21:87:a4:05:0c",
      vlanTags: [],
      etherType: ETHER_TYPE.arp,
      payload: bytes.subarray(14),
    },
  });
  expect(frame.ok && frame.value.payload.buffer).toBe(bytes.buffer);
  expect(frame.ok && isVlanTagged(frame.value)).toBe(false);
});

test("a frame with a service tag and a tag inside", () => {
  const frame = parseEthernet(hex(`${MACS} 88a8 b007 8100 0fff 0800 45`));
  expect(frame).toMatchObject({
    ok: true,
    value: {
      vlanTags: [
        { type: 0x88a8, priority: 5, dropEligible: true, id: 7 },
        { type: 0x8100, priority: 0, dropEligible: false, id: 4095 },
      ],
      etherType: ETHER_TYPE.ipv4,
      payload: Uint8Array.of(0x45),
    },
  });
  expect(frame.ok && isVlanTagged(frame.value)).toBe(true);
});

test("a tag that is cut short still makes a tagged frame", () => {
  const frame = parseEthernet(hex(`${MACS} 8100 0007 08`));
  expect(frame).toMatchObject({ ok: true, value: { vlanTags: [], etherType: 0x8100 } });
  expect(frame.ok && isVlanTagged(frame.value)).toBe(true);
});

test("less than a header is an error", () => {
  expect(parseEthernet(windowsArpRequest().subarray(0, 13))).toEqual({
    ok: false,
    error: { layer: "ethernet", field: "header", message: "the Ethernet header has 14 bytes, the frame 13" },
  });
});

test("any 14 bytes or more are encoded as they were", () => {
  const tagType = fc.constantFrom([0x81, 0x00], [0x88, 0xa8], [0x08, 0x00]);
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 22, maxLength: 40, size: "max" }),
      tagType,
      tagType,
      (bytes, outer, inner) => {
        bytes.set(outer, 12);
        bytes.set(inner, 16);
        const frame = parseEthernet(bytes);
        expect(frame.ok && encodeEthernet(frame.value)).toEqual(bytes);
      },
    ),
  );
});

test("fields that do not fit are refused", () => {
  const frame = {
    destination: "ff:ff:ff:ff:ff:ff",
    source: "02:21:87:a4:05:0c",
    vlanTags: [{ type: 0x8100, priority: 0, dropEligible: false, id: 4096 }],
    etherType: 0,
    payload: new Uint8Array(0),
  };
  expect(() => encodeEthernet(frame)).toThrow("id: 4096");
  expect(() => encodeEthernet({ ...frame, vlanTags: [], source: "nobody" })).toThrow("is not a MAC address");
});
