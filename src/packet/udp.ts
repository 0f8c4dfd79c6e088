/** UDP (RFC 768). */
import { concatBytes, uint, viewOf } from "./bytes.ts";
import { fail, ok, type ParseResult } from "./result.ts";

/** Bytes of a UDP header. */
export const UDP_HEADER_LENGTH = 8;

/** A UDP header. */
export interface UdpHeader {
  sourcePort: number;
  destinationPort: number;
  /** Header and data, in bytes. */
  length: number;
  /** As in the datagram; 0 means that the sender computed none. */
  checksum: number;
}

/** A UDP datagram, or as much of it as a first fragment holds. */
export interface UdpDatagram extends UdpHeader {
  data: Uint8Array;
  /** What the IP packet holds beyond `length`: the surplus area (RFC 9868), empty for most datagrams. */
  surplus: Uint8Array;
}

/**
 * Parses a datagram; `data` and `surplus` are views. With `firstFragment`, `length` may go beyond the bytes at hand,
 * the rest being in later fragments.
 */
export function parseUdp(bytes: Uint8Array, { firstFragment = false } = {}): ParseResult<UdpDatagram> {
  if (bytes.length < UDP_HEADER_LENGTH)
    return fail("udp", "header", `a UDP header has ${UDP_HEADER_LENGTH} bytes, here are ${bytes.length}`);
  const view = viewOf(bytes);
  const length = view.getUint16(4);
  if (length < UDP_HEADER_LENGTH)
    return fail("udp", "length", `the UDP length is ${length}, less than the header's ${UDP_HEADER_LENGTH}`);
  if (length > bytes.length && !firstFragment)
    return fail("udp", "length", `the UDP length is ${length}, here are ${bytes.length} bytes`);
  return ok({
    sourcePort: view.getUint16(0),
    destinationPort: view.getUint16(2),
    length,
    checksum: view.getUint16(6),
    data: bytes.subarray(UDP_HEADER_LENGTH, length),
    surplus: bytes.subarray(length),
  });
}

/** The bytes of a datagram, every field as it is. Throws RangeError for a field that does not fit. */
export function encodeUdp(datagram: UdpDatagram): Uint8Array {
  const header = new Uint8Array(UDP_HEADER_LENGTH);
  const view = viewOf(header);
  view.setUint16(0, uint("sourcePort", datagram.sourcePort, 16));
  view.setUint16(2, uint("destinationPort", datagram.destinationPort, 16));
  view.setUint16(4, uint("length", datagram.length, 16));
  view.setUint16(6, uint("checksum", datagram.checksum, 16));
  return concatBytes(header, datagram.data, datagram.surplus);
}
