/** The internet checksum: RFC 1071 (whole), RFC 1624 (update), RFC 768 and RFC 9293 (pseudo-header). */
import { ipv4ToUint32 } from "./address.ts";
import { uint, viewOf } from "./bytes.ts";

/**
 * The one's complement sum of the bytes as 16-bit words in network order, folded to 16 bits. `initial` is the sum of
 * what goes before. An odd last byte counts as the upper half of a word (RFC 1071 s. 1), so only the last part of
 * a message may have odd length.
 */
export function onesComplementSum(bytes: Uint8Array, initial = 0): number {
  const view = viewOf(bytes);
  const even = bytes.length - (bytes.length % 2);
  let sum = initial;
  for (let offset = 0; offset < even; offset += 2) sum += view.getUint16(offset);
  if (even < bytes.length) sum += view.getUint8(even) << 8;
  return fold(sum);
}

/**
 * The internet checksum of the bytes: the complement of `onesComplementSum`. The checksum field itself must be zero.
 */
export function internetChecksum(bytes: Uint8Array, initial = 0): number {
  return ~onesComplementSum(bytes, initial) & 0xffff;
}

/**
 * Whether bytes that hold their own checksum sum up to all ones (RFC 1071 s. 1). Unlike a comparison of fields this
 * takes both representations of zero, 0x0000 and 0xffff, for the same.
 */
export function isChecksumRight(bytes: Uint8Array, initial = 0): boolean {
  return onesComplementSum(bytes, initial) === 0xffff;
}

/**
 * The checksum after one 16-bit word it covers has changed: HC' = ~(~HC + ~m + m') (RFC 1624 eqn. 3), carries folded.
 * The simpler eqn. 2 of RFC 1141 gives 0xffff where 0x0000 is right. A UDP checksum of zero means "none" and must be
 * left alone by the caller; the result for UDP goes through `udpChecksumField`.
 */
export function updateChecksum(checksum: number, oldWord: number, newWord: number): number {
  const sum =
    (~uint("checksum", checksum, 16) & 0xffff) +
    (~uint("old word", oldWord, 16) & 0xffff) +
    uint("new word", newWord, 16);
  return ~fold(sum) & 0xffff;
}

/** The checksum after an IPv4 address it covers, in its header or pseudo-header, has changed. */
export function updateChecksumAddress(checksum: number, oldAddress: string, newAddress: string): number {
  const before = ipv4ToUint32(oldAddress);
  const after = ipv4ToUint32(newAddress);
  const half = updateChecksum(checksum, before >>> 16, after >>> 16);
  return updateChecksum(half, before & 0xffff, after & 0xffff);
}

/** What TCP and UDP checksums cover besides the segment itself. */
export interface PseudoHeader {
  source: string;
  destination: string;
  /** IP protocol number. */
  protocol: number;
}

/**
 * The folded sum of the IPv4 pseudo-header (RFC 9293 s. 3.1, RFC 768). `length`: transport header and data, in bytes.
 */
export function pseudoHeaderSum({ source, destination, protocol }: PseudoHeader, length: number): number {
  const from = ipv4ToUint32(source);
  const to = ipv4ToUint32(destination);
  return fold((from >>> 16) + (from & 0xffff) + (to >>> 16) + (to & 0xffff) + protocol + length);
}

/**
 * The checksum of a TCP segment or UDP datagram (header and data, checksum field zero); UDP's still needs
 * `udpChecksumField`.
 */
export function transportChecksum(pseudo: PseudoHeader, segment: Uint8Array): number {
  return internetChecksum(segment, pseudoHeaderSum(pseudo, segment.length));
}

/**
 * What goes into a UDP header for a checksum: a computed zero is sent as all ones, since zero means "none" (RFC 768).
 */
export function udpChecksumField(checksum: number): number {
  return checksum === 0 ? 0xffff : checksum;
}

// Division and not shifts: the sum of a large buffer may have more than 32 bits.
function fold(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded % 0x10000) + Math.floor(folded / 0x10000);
  return folded;
}
