/** ARP for IPv4 over Ethernet (RFC 826). */
import { ipv4FromBytes, ipv4ToBytes, macFromBytes, macToBytes } from "./address.ts";
import { uint, viewOf } from "./bytes.ts";
import { fail, ok, type ParseResult } from "./result.ts";

/** ARP operation codes. */
export const ARP_OPERATION = { request: 1, reply: 2 } as const;

/** Bytes of an ARP packet for IPv4 over Ethernet. */
export const ARP_LENGTH = 28;

const HARDWARE_ETHERNET = 1;
const PROTOCOL_IPV4 = 0x0800;

/** An ARP packet for IPv4 over Ethernet. */
export interface ArpPacket {
  /** One of `ARP_OPERATION`, or another number, kept as it is. */
  operation: number;
  senderMac: string;
  senderAddress: string;
  targetMac: string;
  targetAddress: string;
}

/** Parses an ARP packet. What follows its 28 bytes is padding; other hardware or protocol types are errors. */
export function parseArp(bytes: Uint8Array): ParseResult<ArpPacket> {
  if (bytes.length < ARP_LENGTH)
    return fail(
      "arp",
      "header",
      `an ARP packet for IPv4 over Ethernet has ${ARP_LENGTH} bytes, here are ${bytes.length}`,
    );
  const view = viewOf(bytes);
  const fixed = [
    ["hardwareType", view.getUint16(0), HARDWARE_ETHERNET],
    ["protocolType", view.getUint16(2), PROTOCOL_IPV4],
    ["hardwareLength", view.getUint8(4), 6],
    ["protocolLength", view.getUint8(5), 4],
  ] as const;
  for (const [field, actual, expected] of fixed)
    if (actual !== expected)
      return fail("arp", field, `${field} is ${actual}, for IPv4 over Ethernet it is ${expected}`);
  return ok({
    operation: view.getUint16(6),
    senderMac: macFromBytes(bytes, 8),
    senderAddress: ipv4FromBytes(bytes, 14),
    targetMac: macFromBytes(bytes, 18),
    targetAddress: ipv4FromBytes(bytes, 24),
  });
}

/** The 28 bytes of an ARP packet. Throws RangeError for a field that does not fit. */
export function encodeArp(packet: ArpPacket): Uint8Array {
  const bytes = new Uint8Array(ARP_LENGTH);
  const view = viewOf(bytes);
  view.setUint16(0, HARDWARE_ETHERNET);
  view.setUint16(2, PROTOCOL_IPV4);
  view.setUint8(4, 6);
  view.setUint8(5, 4);
  view.setUint16(6, uint("operation", packet.operation, 16));
  bytes.set(macToBytes(packet.senderMac), 8);
  bytes.set(ipv4ToBytes(packet.senderAddress), 14);
  bytes.set(macToBytes(packet.targetMac), 18);
  bytes.set(ipv4ToBytes(packet.targetAddress), 24);
  return bytes;
}

/** The sender in an ARP packet that is known to be right, without parsing the rest. Throws RangeError where it is cut short. */
export function arpSender(bytes: Uint8Array): { mac: string; address: string } {
  return { mac: macFromBytes(bytes, 8), address: ipv4FromBytes(bytes, 14) };
}
