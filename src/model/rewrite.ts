/**
 * Frames changed in place, byte by byte as the kernel programs do it: what no rule names stays as it came, checksums are updated
 * and not computed anew, so that a wrong one stays wrong by the same amount.
 *
 * One's complement has two zeros. An update gives 0x0000 and never 0xffff (~HC + ~m + m' is a sum above zero, and such a sum
 * never folds to zero), except for UDP, where 0x0000 means "none" and 0xffff is written (RFC 768).
 */
import { ipv4ToBytes, macToBytes } from "../packet/address.ts";
import { concatBytes, viewOf } from "../packet/bytes.ts";
import { udpChecksumField, updateChecksum } from "../packet/checksum.ts";
import { ETHERNET_HEADER_LENGTH, type EthernetHeader } from "../packet/ethernet.ts";
import type { Ipv4Network, Transport } from "../packet/frame.ts";
import { IP_PROTOCOL } from "../packet/ipv4.ts";
import type { Endpoints, Headers } from "./state.ts";

/** TTL of all that the datapath makes or translates; in a flow, towards the guest, `responseHopLimit` stands instead. */
export const DEFAULT_TTL = 64;

/** An IPv4 frame whose IPv4 header holds what it says (row I9). */
export interface Ipv4Frame {
  bytes: Uint8Array;
  ethernet: EthernetHeader;
  ip: Ipv4Network;
}

/** TCP or UDP. */
export type PortTransport = Extract<Transport, { kind: "tcp" | "udp" }>;

/** A copy of the frame with other headers. Without ports, what follows the IPv4 header stays as it is. */
export function rewriteFrame(frame: Ipv4Frame, to: Headers): Uint8Array {
  const bytes = new Uint8Array(frame.bytes);
  const packet = ipv4Packet(bytes, frame.ip);
  setMacs(bytes, to.sourceMac, to.destinationMac);
  readdressPacket(packet, to);
  setTtl(packet, to.ttl);
  return bytes;
}

/** The IPv4 packet in a frame, without what follows it, as a view. */
export function ipv4Packet(bytes: Uint8Array, ip: Ipv4Network): Uint8Array {
  return bytes.subarray(ETHERNET_HEADER_LENGTH, ETHERNET_HEADER_LENGTH + ip.totalLength);
}

/** Writes both MACs of a frame. */
export function setMacs(bytes: Uint8Array, source: string, destination: string): void {
  bytes.set(macToBytes(destination), 0);
  bytes.set(macToBytes(source), 6);
}

/**
 * Changes addresses and, where given, the ports of TCP or UDP, in place, with the checksums that cover them as far as the bytes hold
 * them: a packet quoted by an ICMP error may end before its TCP checksum.
 */
export function readdressPacket(packet: Uint8Array, to: Endpoints): void {
  const ip = viewOf(packet);
  const oldAddresses = packet.slice(12, 20);
  const newAddresses = concatBytes(ipv4ToBytes(to.source), ipv4ToBytes(to.destination));
  packet.set(newAddresses, 12);
  ip.setUint16(10, updateChecksumBytes(ip.getUint16(10), oldAddresses, newAddresses));
  if (to.ports === undefined) return;

  const header = (ip.getUint8(0) & 0xf) * 4;
  const udp = ip.getUint8(9) === IP_PROTOCOL.udp;
  const l4 = viewOf(packet.subarray(header));
  const oldPorts = packet.slice(header, header + 4);
  l4.setUint16(0, to.ports.source);
  l4.setUint16(2, to.ports.destination);
  const newPorts = packet.subarray(header, header + 4);
  const offset = udp ? 6 : 16;
  if (l4.byteLength < offset + 2) return;
  const old = l4.getUint16(offset);
  if (udp && old === 0) return;
  const changed = updateChecksumBytes(
    updateChecksumBytes(old, oldAddresses, newAddresses),
    oldPorts,
    newPorts,
  );
  l4.setUint16(offset, udp ? udpChecksumField(changed) : changed);
}

/** Writes the TTL, in place, and updates the header checksum. */
function setTtl(packet: Uint8Array, ttl: number): void {
  const ip = viewOf(packet);
  const word = ip.getUint16(8);
  const changed = (ttl << 8) | (word & 0xff);
  ip.setUint16(8, changed);
  ip.setUint16(10, updateChecksum(ip.getUint16(10), word, changed));
}

/** The checksum after `before` has become `after`: as many bytes, an even number, at an even offset (RFC 1624). */
export function updateChecksumBytes(checksum: number, before: Uint8Array, after: Uint8Array): number {
  const [from, to] = [viewOf(before), viewOf(after)];
  let changed = checksum;
  for (let offset = 0; offset < before.length; offset += 2)
    changed = updateChecksum(changed, from.getUint16(offset), to.getUint16(offset));
  return changed;
}
