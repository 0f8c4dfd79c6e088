/**
 * Capture files. Read: pcap (both byte orders, microseconds and nanoseconds) and pcapng (any number of sections and
 * interfaces). Written: pcapng. After draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng.
 */
import { concatBytes, NO_BYTES, padToMultiple, uint, viewOf } from "./bytes.ts";
import { fail, ok, type ParseError, type ParseResult } from "./result.ts";

/** The link type of Ethernet. Packets of other link types are no frames for `parseFrame`. */
export const LINK_TYPE_ETHERNET = 1;

/** A packet of a capture file. */
export interface CapturedPacket {
  /** Nanoseconds since 1970-01-01 UTC; undefined for pcapng's simple packets, which have no time. */
  timestamp: bigint | undefined;
  /** `LINK_TYPE_ETHERNET` or another. */
  linkType: number;
  /** What was captured: a view of the file's bytes, cut off where the capture had a snap length. */
  bytes: Uint8Array;
  /** Length of the packet on the wire. */
  originalLength: number;
  /** Name of the interface, where the file gives it. */
  interfaceName: string | undefined;
}

/** What a capture file holds. */
export interface Capture {
  packets: CapturedPacket[];
  /**
   * Why reading ended before the file did; undefined for a file that is whole. The packets before it are good: the
   * last record of a capture that was interrupted is often cut short.
   */
  damage: ParseError | undefined;
}

const PCAP_HEADER_LENGTH = 24;
const PCAP_RECORD_HEADER_LENGTH = 16;
const PCAP_MICROSECONDS = 0xa1b2c3d4;
const PCAP_NANOSECONDS = 0xa1b23c4d;

const SECTION_HEADER = 0x0a0d0d0a; // a palindrome, the same in both byte orders
const INTERFACE_DESCRIPTION = 1;
const SIMPLE_PACKET = 3;
const ENHANCED_PACKET = 6;
const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
const OPTION_END = 0;
const OPTION_IF_NAME = 2;
const OPTION_IF_TSRESOL = 9;
const OPTION_IF_TSOFFSET = 14;
const BLOCK_OVERHEAD = 12; // type, length, and the length again at the end

const NS_PER_SECOND = 1_000_000_000n;

/**
 * Reads a capture file of either format, told apart by its first bytes. An error is a file that is no capture at all;
 * one that is damaged further on gives the packets before and `damage`. Lengths are checked against the file, never
 * allocated, so the packets take no more memory than the file.
 */
export function readCapture(file: Uint8Array): ParseResult<Capture> {
  if (file.length < 4)
    return fail("pcap", "magic", `a capture file has at least 4 bytes, this one ${file.length}`);
  const magic = viewOf(file).getUint32(0);
  if (magic === SECTION_HEADER) return readPcapng(file);
  const swapped = viewOf(file).getUint32(0, true);
  for (const [value, littleEndian] of [
    [magic, false],
    [swapped, true],
  ] as const) {
    if (value === PCAP_MICROSECONDS) return readPcap(file, littleEndian, 1000n);
    if (value === PCAP_NANOSECONDS) return readPcap(file, littleEndian, 1n);
  }
  return fail(
    "pcap",
    "magic",
    `the file begins with 0x${magic.toString(16).padStart(8, "0")}: neither pcap nor pcapng`,
  );
}

function readPcap(file: Uint8Array, littleEndian: boolean, nsPerUnit: bigint): ParseResult<Capture> {
  if (file.length < PCAP_HEADER_LENGTH)
    return fail("pcap", "header", `a pcap header has ${PCAP_HEADER_LENGTH} bytes, the file ${file.length}`);
  const view = viewOf(file);
  const major = view.getUint16(4, littleEndian);
  if (major !== 2) return fail("pcap", "version", `pcap version ${major} is not known, only 2`);
  // The upper half of the field tells whether frames end in a check sequence; to the parsers that is padding.
  const linkType = view.getUint32(20, littleEndian) & 0xffff;
  const packets: CapturedPacket[] = [];
  let offset = PCAP_HEADER_LENGTH;
  while (offset < file.length) {
    const left = file.length - offset - PCAP_RECORD_HEADER_LENGTH;
    if (left < 0) return damaged(packets, "pcap", "header", offset, "the record header is cut short");
    const seconds = BigInt(view.getUint32(offset, littleEndian));
    const fraction = BigInt(view.getUint32(offset + 4, littleEndian));
    const length = view.getUint32(offset + 8, littleEndian);
    if (length > left)
      return damaged(
        packets,
        "pcap",
        "length",
        offset,
        `the record claims ${length} bytes, ${left} are left`,
      );
    const start = offset + PCAP_RECORD_HEADER_LENGTH;
    packets.push({
      timestamp: seconds * NS_PER_SECOND + fraction * nsPerUnit,
      linkType,
      bytes: file.subarray(start, start + length),
      originalLength: view.getUint32(offset + 12, littleEndian),
      interfaceName: undefined,
    });
    offset = start + length;
  }
  return ok({ packets, damage: undefined });
}

interface Interface {
  linkType: number;
  /** 0: no limit. */
  snapLength: number;
  toNanoseconds: (timestamp: bigint) => bigint;
  name: string | undefined;
}

function readPcapng(file: Uint8Array): ParseResult<Capture> {
  const view = viewOf(file);
  const packets: CapturedPacket[] = [];
  let littleEndian = false;
  let interfaces: Interface[] = [];
  let offset = 0;
  while (offset < file.length) {
    const left = file.length - offset;
    const stop = (field: string, message: string) => damaged(packets, "pcapng", field, offset, message);
    if (left < BLOCK_OVERHEAD) return stop("header", "the block is cut short");
    if (view.getUint32(offset) === SECTION_HEADER) {
      // Its length can only be read once its byte order is known.
      const order = view.getUint32(offset + 8);
      littleEndian = order !== BYTE_ORDER_MAGIC;
      if (littleEndian && view.getUint32(offset + 8, true) !== BYTE_ORDER_MAGIC)
        return stop("byteOrder", "the section header has no byte-order magic");
    }
    const type = view.getUint32(offset, littleEndian);
    const length = view.getUint32(offset + 4, littleEndian);
    if (length < BLOCK_OVERHEAD || length % 4 !== 0)
      return stop(
        "length",
        `the block claims ${length} bytes: less than ${BLOCK_OVERHEAD}, or no multiple of 4`,
      );
    if (length > left) return stop("length", `the block claims ${length} bytes, ${left} are left`);
    if (view.getUint32(offset + length - 4, littleEndian) !== length)
      return stop("length", "the two lengths of the block differ");
    const body = file.subarray(offset + 8, offset + length - 4);
    switch (type) {
      case SECTION_HEADER: {
        if (body.length < 16) return stop("header", "the section header is cut short");
        const major = viewOf(body).getUint16(4, littleEndian);
        if (major !== 1) return stop("version", `pcapng version ${major} is not known, only 1`);
        interfaces = []; // their numbers start anew in every section
        break;
      }
      case INTERFACE_DESCRIPTION: {
        const description = readInterface(body, littleEndian);
        if (!description.ok) return stop(description.error.field, description.error.message);
        interfaces.push(description.value);
        break;
      }
      case ENHANCED_PACKET: {
        const packet = readEnhancedPacket(body, littleEndian, interfaces);
        if (!packet.ok) return stop(packet.error.field, packet.error.message);
        packets.push(packet.value);
        break;
      }
      case SIMPLE_PACKET: {
        const packet = readSimplePacket(body, littleEndian, interfaces);
        if (!packet.ok) return stop(packet.error.field, packet.error.message);
        packets.push(packet.value);
        break;
      }
    }
    offset += length;
  }
  return ok({ packets, damage: undefined });
}

function readInterface(body: Uint8Array, littleEndian: boolean): ParseResult<Interface> {
  if (body.length < 8) return fail("pcapng", "header", "the interface description is cut short");
  const view = viewOf(body);
  let resolution = 6; // microseconds
  let offsetSeconds = 0n;
  let name: string | undefined;
  let at = 8;
  while (at + 4 <= body.length) {
    const code = view.getUint16(at, littleEndian);
    const length = view.getUint16(at + 2, littleEndian);
    if (code === OPTION_END) break;
    const start = at + 4;
    if (start + length > body.length)
      return fail(
        "pcapng",
        "option",
        `option ${code} of an interface claims ${length} bytes, ${body.length - start} are left`,
      );
    if (code === OPTION_IF_TSRESOL && length === 1) resolution = view.getUint8(start);
    if (code === OPTION_IF_TSOFFSET && length === 8) offsetSeconds = view.getBigInt64(start, littleEndian);
    if (code === OPTION_IF_NAME)
      name = new TextDecoder("utf-8", { ignoreBOM: true }).decode(body.subarray(start, start + length));
    at = start + Math.ceil(length / 4) * 4;
  }
  // The top bit chooses the base: 2 or 10.
  const base = (resolution & 0x80) !== 0 ? 2n : 10n;
  const unitsPerSecond = base ** BigInt(resolution & 0x7f);
  return ok({
    linkType: view.getUint16(0, littleEndian),
    snapLength: view.getUint32(4, littleEndian),
    toNanoseconds: (timestamp) =>
      (timestamp * NS_PER_SECOND) / unitsPerSecond + offsetSeconds * NS_PER_SECOND,
    name,
  });
}

function readEnhancedPacket(
  body: Uint8Array,
  littleEndian: boolean,
  interfaces: readonly Interface[],
): ParseResult<CapturedPacket> {
  const headerLength = 20;
  if (body.length < headerLength) return fail("pcapng", "header", "the packet block is cut short");
  const view = viewOf(body);
  const number = view.getUint32(0, littleEndian);
  const from = interfaces[number];
  if (from === undefined)
    return fail(
      "pcapng",
      "interface",
      `the packet names interface ${number}, the section has ${interfaces.length}`,
    );
  const length = view.getUint32(12, littleEndian);
  if (length > body.length - headerLength)
    return fail(
      "pcapng",
      "length",
      `the packet claims ${length} bytes, its block has room for ${body.length - headerLength}`,
    );
  const high = BigInt(view.getUint32(4, littleEndian));
  const low = BigInt(view.getUint32(8, littleEndian));
  return ok({
    timestamp: from.toNanoseconds((high << 32n) | low),
    linkType: from.linkType,
    bytes: body.subarray(headerLength, headerLength + length),
    originalLength: view.getUint32(16, littleEndian),
    interfaceName: from.name,
  });
}

function readSimplePacket(
  body: Uint8Array,
  littleEndian: boolean,
  interfaces: readonly Interface[],
): ParseResult<CapturedPacket> {
  const headerLength = 4;
  const from = interfaces[0];
  if (from === undefined)
    return fail("pcapng", "interface", "a simple packet belongs to interface 0, the section has none");
  if (body.length < headerLength) return fail("pcapng", "header", "the simple packet block is cut short");
  const originalLength = viewOf(body).getUint32(0, littleEndian);
  // The block does not say how much was captured: the whole packet, or the snap length.
  const length = from.snapLength === 0 ? originalLength : Math.min(originalLength, from.snapLength);
  if (length > body.length - headerLength)
    return fail(
      "pcapng",
      "length",
      `the packet claims ${length} bytes, its block has room for ${body.length - headerLength}`,
    );
  return ok({
    timestamp: undefined,
    linkType: from.linkType,
    bytes: body.subarray(headerLength, headerLength + length),
    originalLength,
    interfaceName: from.name,
  });
}

function damaged(
  packets: CapturedPacket[],
  layer: "pcap" | "pcapng",
  field: string,
  offset: number,
  message: string,
): ParseResult<Capture> {
  const error: ParseError = { layer, field, message: `at byte ${offset}: ${message}` };
  return ok({ packets, damage: error });
}

/**
 * The beginning of a pcapng file: a section with one Ethernet interface, timestamps in nanoseconds, no snap length.
 * Packets follow as `pcapngPacket`. Little-endian.
 */
export function pcapngHeader(interfaceName?: string): Uint8Array {
  const section = new Uint8Array(16);
  const sectionView = viewOf(section);
  sectionView.setUint32(0, BYTE_ORDER_MAGIC, true);
  sectionView.setUint16(4, 1, true); // version 1.0
  sectionView.setBigInt64(8, -1n, true); // length of the section: not given
  const description = new Uint8Array(8);
  viewOf(description).setUint16(0, LINK_TYPE_ETHERNET, true);
  const name =
    interfaceName === undefined ? NO_BYTES : option(OPTION_IF_NAME, new TextEncoder().encode(interfaceName));
  const resolution = option(OPTION_IF_TSRESOL, Uint8Array.of(9));
  return concatBytes(
    block(SECTION_HEADER, section),
    block(INTERFACE_DESCRIPTION, concatBytes(description, name, resolution, option(OPTION_END, NO_BYTES))),
  );
}

/**
 * One packet of a pcapng file begun with `pcapngHeader`. `timestamp` in nanoseconds since 1970-01-01 UTC;
 * `originalLength` is the length on the wire when `bytes` is only the beginning. Throws RangeError for a time that
 * does not fit in 64 bits.
 */
export function pcapngPacket(
  timestamp: bigint,
  bytes: Uint8Array,
  originalLength: number = bytes.length,
): Uint8Array {
  if (timestamp !== BigInt.asUintN(64, timestamp))
    throw new RangeError(`timestamp: ${timestamp} is not an unsigned integer of 64 bits`);
  const header = new Uint8Array(20);
  const view = viewOf(header);
  view.setUint32(4, Number(timestamp >> 32n), true);
  view.setUint32(8, Number(timestamp & 0xffffffffn), true);
  view.setUint32(12, bytes.length, true);
  view.setUint32(16, uint("originalLength", originalLength, 32), true);
  return block(ENHANCED_PACKET, concatBytes(header, padToMultiple(bytes, 4)));
}

function option(code: number, value: Uint8Array): Uint8Array {
  const header = new Uint8Array(4);
  viewOf(header).setUint16(0, code, true);
  viewOf(header).setUint16(2, uint("option length", value.length, 16), true);
  return concatBytes(header, padToMultiple(value, 4));
}

function block(type: number, body: Uint8Array): Uint8Array {
  const header = new Uint8Array(8);
  const trailer = new Uint8Array(4);
  const length = body.length + BLOCK_OVERHEAD;
  viewOf(header).setUint32(0, type, true);
  viewOf(header).setUint32(4, length, true);
  viewOf(trailer).setUint32(0, length, true);
  return concatBytes(header, body, trailer);
}
