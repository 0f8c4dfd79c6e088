import { expect, test } from "vitest";
import { udpFrame } from "../packet/build.ts";
import { viewOf } from "../packet/bytes.ts";
import { isChecksumRight, pseudoHeaderSum, udpChecksumField, updateChecksum } from "../packet/checksum.ts";
import { IP_PROTOCOL } from "../packet/ipv4.ts";
import { readdressPacket } from "./rewrite.ts";

const before = { source: "10.0.1.3", destination: "169.254.169.253" };
const after = { source: "198.51.100.7", destination: "192.0.2.53" };
const ports = { sourcePort: 40000, destinationPort: 53 };
const MACS = { sourceMac: "02:00:0a:00:01:03", destinationMac: "00:00:5e:00:01:00" };

test("every word of data: the checksum is right after the change, and never zero", () => {
  const packet = udpFrame({ ...MACS, ...before, ...ports, data: new Uint8Array(2) }).slice(14);
  const base = viewOf(packet).getUint16(26);
  let allOnes = 0;
  for (let word = 0; word <= 0xffff; word++) {
    const changed = packet.slice();
    const view = viewOf(changed);
    view.setUint16(28, word);
    view.setUint16(26, udpChecksumField(updateChecksum(base, 0, word)));
    readdressPacket(changed, { ...after, ports: { source: 61000, destination: 53 } });
    const segment = changed.subarray(20);
    const right =
      isChecksumRight(segment, pseudoHeaderSum({ ...after, protocol: IP_PROTOCOL.udp }, segment.length)) &&
      isChecksumRight(changed.subarray(0, 20)) &&
      view.getUint16(26) !== 0;
    if (!right) expect.fail(`data ${word}: checksum ${view.getUint16(26)}`);
    if (view.getUint16(26) === 0xffff) allOnes++;
  }
  expect(allOnes).toBeGreaterThan(0);
});

test("0xffff for zero, as some senders write it, becomes 0x0000 (the file comment says why)", () => {
  const packet = udpFrame({ ...MACS, ...before, ...ports }).slice(14);
  // A header whose sum without the checksum is all ones has 0x0000 as its checksum; 0xffff counts the same.
  viewOf(packet).setUint16(4, viewOf(packet).getUint16(10));
  viewOf(packet).setUint16(10, 0xffff);
  expect(isChecksumRight(packet.subarray(0, 20))).toBe(true);
  readdressPacket(packet, { ...before, ports: undefined });
  expect(viewOf(packet).getUint16(10)).toBe(0);
});
