/** TCP segments (RFC 9293 s. 3.1). */
import { concatBytes, uint, uintUnits, viewOf } from "./bytes.ts";
import { fail, ok, type ParseResult } from "./result.ts";

/** Bits of `TcpHeader.flags`. */
export const TCP_FLAG = {
  fin: 0x01,
  syn: 0x02,
  rst: 0x04,
  psh: 0x08,
  ack: 0x10,
  urg: 0x20,
  ece: 0x40,
  cwr: 0x80,
} as const;

/** Bytes of a TCP header without options. */
export const TCP_HEADER_LENGTH = 20;

/** A TCP header, field by field; parsing and encoding lose nothing. */
export interface TcpHeader {
  sourcePort: number;
  destinationPort: number;
  sequence: number;
  acknowledgement: number;
  /** From the data offset, in bytes. */
  headerLength: number;
  /** The four bits between data offset and flags. */
  reserved: number;
  /** Bits of `TCP_FLAG`. */
  flags: number;
  window: number;
  /** As in the segment; `frameErrors` checks it. */
  checksum: number;
  urgentPointer: number;
  /** As in the segment, with its padding. */
  options: Uint8Array;
}

/** A TCP segment. */
export interface TcpSegment extends TcpHeader {
  data: Uint8Array;
}

/** Parses a segment; `options` and `data` are views. */
export function parseTcp(bytes: Uint8Array): ParseResult<TcpSegment> {
  if (bytes.length < TCP_HEADER_LENGTH)
    return fail(
      "tcp",
      "header",
      `a TCP header has at least ${TCP_HEADER_LENGTH} bytes, here are ${bytes.length}`,
    );
  const view = viewOf(bytes);
  const headerLength = (view.getUint8(12) >>> 4) * 4;
  if (headerLength < TCP_HEADER_LENGTH)
    return fail(
      "tcp",
      "headerLength",
      `the data offset gives a header of ${headerLength} bytes, the least is ${TCP_HEADER_LENGTH}`,
    );
  if (headerLength > bytes.length)
    return fail(
      "tcp",
      "headerLength",
      `the data offset gives a header of ${headerLength} bytes, here are ${bytes.length}`,
    );
  return ok({
    sourcePort: view.getUint16(0),
    destinationPort: view.getUint16(2),
    sequence: view.getUint32(4),
    acknowledgement: view.getUint32(8),
    headerLength,
    reserved: view.getUint8(12) & 0xf,
    flags: view.getUint8(13),
    window: view.getUint16(14),
    checksum: view.getUint16(16),
    urgentPointer: view.getUint16(18),
    options: bytes.subarray(TCP_HEADER_LENGTH, headerLength),
    data: bytes.subarray(headerLength),
  });
}

/** The bytes of a segment, every field as it is. Throws RangeError for a field that does not fit. */
export function encodeTcp(segment: TcpSegment): Uint8Array {
  const header = new Uint8Array(TCP_HEADER_LENGTH);
  const view = viewOf(header);
  view.setUint16(0, uint("sourcePort", segment.sourcePort, 16));
  view.setUint16(2, uint("destinationPort", segment.destinationPort, 16));
  view.setUint32(4, uint("sequence", segment.sequence, 32));
  view.setUint32(8, uint("acknowledgement", segment.acknowledgement, 32));
  view.setUint8(
    12,
    (uintUnits("headerLength", segment.headerLength, 4, 4) << 4) | uint("reserved", segment.reserved, 4),
  );
  view.setUint8(13, uint("flags", segment.flags, 8));
  view.setUint16(14, uint("window", segment.window, 16));
  view.setUint16(16, uint("checksum", segment.checksum, 16));
  view.setUint16(18, uint("urgentPointer", segment.urgentPointer, 16));
  return concatBytes(header, segment.options, segment.data);
}
