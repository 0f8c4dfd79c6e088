import fc from "fast-check";
import { expect, test } from "vitest";
import { ARP_OPERATION, encodeArp, parseArp } from "./arp.ts";
import { windowsArpRequest } from "./fixtures.ts";

const packet = () => windowsArpRequest().slice(14);

test("the request of Windows Server 2022", () => {
  const expected = {
    operation: ARP_OPERATION.request,
    senderMac: "02:21:87:a4:05:0c",
    senderAddress: "172.31.0.7",
    targetMac: "00:00:00:00:00:00",
    targetAddress: "169.254.169.254",
  };
  expect(parseArp(packet())).toEqual({ ok: true, value: expected });
  expect(encodeArp(expected)).toEqual(packet());
});

test("padding behind the packet does not matter", () => {
  const padded = new Uint8Array(46).fill(0xee);
  padded.set(packet());
  expect(parseArp(padded)).toEqual(parseArp(packet()));
});

test.each([
  ["hardwareType", 1],
  ["protocolType", 2],
  ["hardwareLength", 4],
  ["protocolLength", 5],
])("another %s is refused", (field, offset) => {
  const bytes = packet();
  bytes[offset]! += 1;
  expect(parseArp(bytes)).toMatchObject({ ok: false, error: { layer: "arp", field } });
});

test("a packet cut short anywhere is refused", () => {
  for (let length = 0; length < 28; length++)
    expect(parseArp(packet().subarray(0, length))).toMatchObject({ ok: false, error: { field: "header" } });
});

test("whatever is parsed is encoded as it was", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 22, maxLength: 22 }), (fields) => {
      const bytes = packet();
      bytes.set(fields, 6);
      const arp = parseArp(bytes);
      expect(arp.ok && encodeArp(arp.value)).toEqual(bytes);
    }),
  );
});
