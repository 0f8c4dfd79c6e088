/** IPv4 (RFC 791). */
import { ipv4FromBytes, ipv4ToBytes } from "./address.ts";
import { concatBytes, uint, uintUnits, viewOf } from "./bytes.ts";
import { fail, ok, type ParseResult } from "./result.ts";

/** IP protocol numbers that onlink knows. */
export const IP_PROTOCOL = { icmp: 1, tcp: 6, udp: 17 } as const;

/** Bytes of an IPv4 header without options. */
export const IPV4_HEADER_LENGTH = 20;

/** An IPv4 header, field by field; parsing and encoding lose nothing. */
export interface Ipv4Header {
  /** From ihl, in bytes. */
  headerLength: number;
  /** The type of service byte: DSCP in the upper six bits, ECN in the lower two. */
  tos: number;
  /** Header and payload, in bytes. */
  totalLength: number;
  identification: number;
  /** The bit before "don't fragment", which must be zero. */
  reservedFlag: boolean;
  dontFragment: boolean;
  moreFragments: boolean;
  /** In bytes, a multiple of 8. */
  fragmentOffset: number;
  ttl: number;
  protocol: number;
  /** As in the packet; `frameErrors` checks it. */
  checksum: number;
  source: string;
  destination: string;
  /** As in the packet, with its padding. */
  options: Uint8Array;
}

/** An IPv4 packet, or a fragment of one. */
export interface Ipv4Packet extends Ipv4Header {
  payload: Uint8Array;
}

/**
 * Parses the header alone; `totalLength` may go beyond the bytes at hand, as it does where an ICMP error quotes only
 * the beginning of a packet.
 */
export function parseIpv4Header(bytes: Uint8Array): ParseResult<Ipv4Header> {
  if (bytes.length < IPV4_HEADER_LENGTH)
    return fail(
      "ipv4",
      "header",
      `an IPv4 header has at least ${IPV4_HEADER_LENGTH} bytes, here are ${bytes.length}`,
    );
  const view = viewOf(bytes);
  const version = view.getUint8(0) >>> 4;
  if (version !== 4) return fail("ipv4", "version", `the version is ${version}, not 4`);
  const headerLength = (view.getUint8(0) & 0xf) * 4;
  if (headerLength < IPV4_HEADER_LENGTH)
    return fail(
      "ipv4",
      "headerLength",
      `ihl gives a header of ${headerLength} bytes, the least is ${IPV4_HEADER_LENGTH}`,
    );
  if (headerLength > bytes.length)
    return fail(
      "ipv4",
      "headerLength",
      `ihl gives a header of ${headerLength} bytes, here are ${bytes.length}`,
    );
  const totalLength = view.getUint16(2);
  if (totalLength < headerLength)
    return fail(
      "ipv4",
      "totalLength",
      `the total length is ${totalLength}, less than the header's ${headerLength}`,
    );
  const fragment = view.getUint16(6);
  return ok({
    headerLength,
    tos: view.getUint8(1),
    totalLength,
    identification: view.getUint16(4),
    reservedFlag: (fragment & 0x8000) !== 0,
    dontFragment: (fragment & 0x4000) !== 0,
    moreFragments: (fragment & 0x2000) !== 0,
    fragmentOffset: (fragment & 0x1fff) * 8,
    ttl: view.getUint8(8),
    protocol: view.getUint8(9),
    checksum: view.getUint16(10),
    source: ipv4FromBytes(bytes, 12),
    destination: ipv4FromBytes(bytes, 16),
    options: bytes.subarray(IPV4_HEADER_LENGTH, headerLength),
  });
}

/** Parses a packet; the payload is a view and ends where `totalLength` says, so Ethernet padding is no part of it. */
export function parseIpv4(bytes: Uint8Array): ParseResult<Ipv4Packet> {
  const header = parseIpv4Header(bytes);
  if (!header.ok) return header;
  const { headerLength, totalLength } = header.value;
  if (totalLength > bytes.length)
    return fail("ipv4", "totalLength", `the total length is ${totalLength}, here are ${bytes.length} bytes`);
  return ok({ ...header.value, payload: bytes.subarray(headerLength, totalLength) });
}

/**
 * The bytes of a packet. Every field is written as it is, lengths and checksum too, so wrong packets can be made.
 * Throws RangeError for a field that does not fit.
 */
export function encodeIpv4(packet: Ipv4Packet): Uint8Array {
  const header = new Uint8Array(IPV4_HEADER_LENGTH);
  const view = viewOf(header);
  view.setUint8(0, 0x40 | uintUnits("headerLength", packet.headerLength, 4, 4));
  view.setUint8(1, uint("tos", packet.tos, 8));
  view.setUint16(2, uint("totalLength", packet.totalLength, 16));
  view.setUint16(4, uint("identification", packet.identification, 16));
  view.setUint16(
    6,
    (packet.reservedFlag ? 0x8000 : 0) |
      (packet.dontFragment ? 0x4000 : 0) |
      (packet.moreFragments ? 0x2000 : 0) |
      uintUnits("fragmentOffset", packet.fragmentOffset, 8, 13),
  );
  view.setUint8(8, uint("ttl", packet.ttl, 8));
  view.setUint8(9, uint("protocol", packet.protocol, 8));
  view.setUint16(10, uint("checksum", packet.checksum, 16));
  header.set(ipv4ToBytes(packet.source), 12);
  header.set(ipv4ToBytes(packet.destination), 16);
  return concatBytes(header, packet.options, packet.payload);
}

/** Whether the packet is only a part of a datagram: the first, the last or one between. */
export function isFragment(header: Pick<Ipv4Header, "moreFragments" | "fragmentOffset">): boolean {
  return header.moreFragments || header.fragmentOffset > 0;
}

/**
 * Where bytes that claim to be IPv4 are addressed to, with nothing else checked; undefined when even the fixed header
 * is cut short. For packets that `parseIpv4` refuses: whether a header that lies is dropped depends on whom it is for
 * (rows I1, I9).
 */
export function uncheckedIpv4Destination(bytes: Uint8Array): string | undefined {
  return bytes.length < IPV4_HEADER_LENGTH ? undefined : ipv4FromBytes(bytes, 16);
}
