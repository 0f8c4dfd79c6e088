/**
 * IPv4 and MAC addresses. Everywhere above the wire they are text in one canonical form (`"10.0.1.3"`,
 * `"00:00:5e:00:01:00"`), so that `===` compares them; bytes and numbers exist only at the border.
 */
import { fail, ok, type ParseResult } from "./result.ts";

/** IPv4 link-local addresses (RFC 3927 s. 2.1). */
export const LINK_LOCAL_PREFIX = "169.254.0.0/16";

/** "No address": the sender address of an ARP probe (RFC 5227 s. 1.1). */
export const UNSPECIFIED_ADDRESS = "0.0.0.0";

/** The gateway MAC: the MAC that answers for every service address. */
export const GATEWAY_MAC = "00:00:5e:00:01:00";

/** The link-layer broadcast address. */
export const BROADCAST_MAC = "ff:ff:ff:ff:ff:ff";

/** "Not known": the target MAC of an ARP request (RFC 5227 s. 1.1 recommends zeros). */
export const ZERO_MAC = "00:00:00:00:00:00";

/**
 * Parses an IPv4 address into a number (10.0.1.3 is 0x0a000103). Only the form of four decimal numbers without
 * leading zeros is taken: others read `010.0.0.1` as octal and `10.1` as 10.0.0.1 (inet_aton), and guessing wrong
 * would mean another host.
 */
export function parseIpv4(text: string): ParseResult<number> {
  const address = readIpv4(text);
  if (address !== undefined) return ok(address);
  return fail(
    "address",
    "ipv4",
    `${JSON.stringify(text)} is not an IPv4 address; write four numbers from 0 to 255 without leading zeros, such as 10.0.1.3`,
  );
}

/** Character by character, since the responder in user space does it for every frame. */
function readIpv4(text: string): number | undefined {
  let address = 0;
  let at = 0;
  for (let part = 0; part < 4; part++) {
    if (part > 0 && text.charCodeAt(at++) !== DOT) return undefined;
    const start = at;
    let value = 0;
    for (let digit = digitAt(text, at); digit >= 0 && at - start < 3; digit = digitAt(text, ++at))
      value = value * 10 + digit;
    const length = at - start;
    if (length === 0 || value > 255 || (length > 1 && text.charCodeAt(start) === ZERO)) return undefined;
    address = address * 256 + value;
  }
  return at === text.length ? address : undefined;
}

const DOT = 0x2e;
const ZERO = 0x30;
const COLON = 0x3a;

/** The value of the decimal digit at a place of the text; negative where there is none. */
function digitAt(text: string, at: number): number {
  const value = text.charCodeAt(at) - ZERO;
  return value <= 9 ? value : -1;
}

/** Whether the text is an IPv4 address in the form that `parseIpv4` takes. */
export function isIpv4(text: string): boolean {
  return readIpv4(text) !== undefined;
}

/** The address as a number (10.0.1.3 is 0x0a000103). Throws RangeError when the text is no address. */
export function ipv4ToUint32(text: string): number {
  return readIpv4(text) ?? valueOrThrow(parseIpv4(text));
}

/** The text of an address given as a number (0x0a000103 is 10.0.1.3). */
export function ipv4FromUint32(address: number): string {
  return `${address >>> 24}.${(address >>> 16) & 0xff}.${(address >>> 8) & 0xff}.${address & 0xff}`;
}

/** The four bytes of an address in network order. Throws RangeError when the text is no address. */
export function ipv4ToBytes(text: string): Uint8Array {
  const address = ipv4ToUint32(text);
  return Uint8Array.of(address >>> 24, address >>> 16, address >>> 8, address);
}

/** The text of the four bytes at `offset`, in network order. Throws RangeError when there are fewer. */
export function ipv4FromBytes(bytes: Uint8Array, offset = 0): string {
  if (offset + 4 > bytes.length)
    throw new RangeError(`an IPv4 address has 4 bytes, got ${Math.max(bytes.length - offset, 0)}`);
  return `${bytes[offset]}.${bytes[offset + 1]}.${bytes[offset + 2]}.${bytes[offset + 3]}`;
}

/** Parses a MAC address: six pairs of hex digits, in either case, with colons between them. */
export function parseMac(text: string): ParseResult<Uint8Array> {
  const bytes = readMac(text);
  if (bytes !== undefined) return ok(bytes);
  return fail(
    "address",
    "mac",
    `${JSON.stringify(text)} is not a MAC address; write six pairs of hex digits with colons, such as 02:00:0a:00:01:03`,
  );
}

function readMac(text: string): Uint8Array | undefined {
  if (text.length !== 17) return undefined;
  const bytes = new Uint8Array(6);
  for (let i = 0; i < 6; i++) {
    const value = HEX_DIGITS[text.charCodeAt(3 * i)]! * 16 + HEX_DIGITS[text.charCodeAt(3 * i + 1)]!;
    if (!(value >= 0) || (i > 0 && text.charCodeAt(3 * i - 1) !== COLON)) return undefined;
    bytes[i] = value;
  }
  return bytes;
}

/** The value of each hex digit by its character code; NaN for what is none. */
const HEX_DIGITS = Array.from({ length: 128 }, (_, code) => {
  const digit = String.fromCharCode(code);
  return /[0-9a-f]/i.test(digit) ? Number.parseInt(digit, 16) : Number.NaN;
});

/** The six bytes of a MAC address. Throws RangeError when the text is none. */
export function macToBytes(text: string): Uint8Array {
  return valueOrThrow(parseMac(text));
}

/** The text, in lower case, of the six bytes at `offset`. Throws RangeError when there are fewer. */
export function macFromBytes(bytes: Uint8Array, offset = 0): string {
  if (offset + 6 > bytes.length)
    throw new RangeError(`a MAC address has 6 bytes, got ${Math.max(bytes.length - offset, 0)}`);
  // Byte by byte: every frame is read through here, the responder's by the tens of thousands a second.
  let text = HEX[bytes[offset]!]!;
  for (let i = 1; i < 6; i++) text += `:${HEX[bytes[offset + i]!]}`;
  return text;
}

/** The two digits of each byte. */
const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

/** An IPv4 prefix such as 169.254.0.0/16. */
export interface Ipv4Prefix {
  /** First address of the prefix, as a number. */
  address: number;
  /** How many leading bits count, 0-32. */
  length: number;
}

/**
 * Parses an IPv4 prefix. Bits of the address beyond the length must be zero: 10.0.1.3/24 is more often a slip than
 * meant.
 */
export function parsePrefix(text: string): ParseResult<Ipv4Prefix> {
  const [addressText = "", lengthText = "", ...rest] = text.split("/");
  const address = parseIpv4(addressText);
  if (!address.ok || !/^(0|[1-9]\d?)$/.test(lengthText) || Number(lengthText) > 32 || rest.length > 0)
    return fail(
      "address",
      "prefix",
      `${JSON.stringify(text)} is not an IPv4 prefix; write address/length, such as ${LINK_LOCAL_PREFIX}`,
    );
  const length = Number(lengthText);
  const first = firstAddress(address.value, length);
  if (first !== address.value)
    return fail(
      "address",
      "prefix",
      `${text} has bits set beyond its length; the prefix is ${ipv4FromUint32(first)}/${length}`,
    );
  return ok({ address: first, length });
}

/** Whether the address lies in the prefix (`"169.254.0.0/16"`). Throws RangeError when either text is wrong. */
export function isInPrefix(address: string, prefix: string): boolean {
  const { address: first, length } = knownPrefix(prefix);
  return firstAddress(ipv4ToUint32(address), length) === first;
}

/** Prefixes by their texts: it is always the same few that addresses are compared with, for a configuration by the thousands. */
const prefixes = new Map<string, Ipv4Prefix>();
const MAX_PREFIXES = 64;

function knownPrefix(text: string): Ipv4Prefix {
  const known = prefixes.get(text);
  if (known !== undefined) return known;
  const prefix = valueOrThrow(parsePrefix(text));
  if (prefixes.size === MAX_PREFIXES) prefixes.clear();
  prefixes.set(text, prefix);
  return prefix;
}

function firstAddress(address: number, length: number): number {
  const size = 2 ** (32 - length);
  return address - (address % size);
}

function valueOrThrow<T>(result: ParseResult<T>): T {
  if (!result.ok) throw new RangeError(result.error.message);
  return result.value;
}
