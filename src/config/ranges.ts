import { ipv4FromUint32, ipv4ToUint32, isInPrefix, parsePrefix } from "../packet/address.ts";

/** The first and last 256 link-local addresses, which nobody may use (RFC 3927 s. 2.1). */
export const RESERVED_LINK_LOCAL: readonly string[] = ["169.254.0.0/24", "169.254.255.0/24"];

const LOOPBACK = "127.0.0.0/8";
const BROADCAST = 0xffffffff;

/**
 * Whether the IPv4 address could be that of a host on a network: not of this network and not loopback (RFC 1122 s. 3.2.1.3), neither multicast
 * (RFC 5771) nor the limited broadcast address. Throws RangeError when the text is no address.
 */
export function isUnicast(address: string): boolean {
  const number = ipv4ToUint32(address);
  const first = number >>> 24;
  const isMulticast = first >= 224 && first <= 239;
  return first !== 0 && first !== 127 && !isMulticast && number !== BROADCAST;
}

/** Whether the IPv4 address means the host itself, 127.0.0.0/8. Throws RangeError when the text is no address. */
export function isLoopback(address: string): boolean {
  return isInPrefix(address, LOOPBACK);
}

/** Whether `inner` lies wholly in `outer`. Both are valid prefixes as text. */
export function isPrefixWithin(inner: string, outer: string): boolean {
  return isInPrefix(firstAddress(inner), outer) && prefixLength(inner) >= prefixLength(outer);
}

/** Whether two prefixes, valid and as text, have an address in common: one then lies in the other. */
export function overlap(a: string, b: string): boolean {
  return isPrefixWithin(a, b) || isPrefixWithin(b, a);
}

/** The length of a valid prefix, 0-32. */
export function prefixLength(prefix: string): number {
  return parsed(prefix).length;
}

function firstAddress(prefix: string): string {
  return ipv4FromUint32(parsed(prefix).address);
}

function parsed(prefix: string) {
  const result = parsePrefix(prefix);
  if (!result.ok) throw new RangeError(result.error.message);
  return result.value;
}
