/** IPv4 fragmentation (RFC 791 s. 2.3), to make fragments for tests and simulations. */
import { NO_BYTES } from "./bytes.ts";
import { internetChecksum } from "./checksum.ts";
import { ETHER_TYPE, encodeEthernet, parseEthernet } from "./ethernet.ts";
import { encodeIpv4, type Ipv4Packet, parseIpv4 } from "./ipv4.ts";

/**
 * Splits an IPv4 frame into fragments of at most `size` bytes of IP payload, which must be a multiple of 8. Padding
 * is lost. A packet that is a fragment itself is split further; one that says "don't fragment" is split all the same.
 * Throws RangeError for a size that is no multiple of 8, a frame that is no right IPv4, and one with IP options, of
 * which fragments would have to copy some and leave others out.
 */
export function fragmentFrame(bytes: Uint8Array, size: number): Uint8Array[] {
  if (size <= 0 || size % 8 !== 0)
    throw new RangeError(`fragment size ${size} is not a positive multiple of 8`);
  const ethernet = parseEthernet(bytes);
  if (!ethernet.ok) throw new RangeError(ethernet.error.message);
  if (ethernet.value.etherType !== ETHER_TYPE.ipv4) throw new RangeError("only IPv4 frames can be split");
  const ipv4 = parseIpv4(ethernet.value.payload);
  if (!ipv4.ok) throw new RangeError(ipv4.error.message);
  const packet = ipv4.value;
  if (packet.options.length > 0) throw new RangeError("a frame with IP options cannot be split here");
  const fragments: Uint8Array[] = [];
  for (let offset = 0; offset < packet.payload.length; offset += size) {
    const payload = packet.payload.subarray(offset, offset + size);
    const fragment: Ipv4Packet = {
      ...packet,
      totalLength: packet.headerLength + payload.length,
      fragmentOffset: packet.fragmentOffset + offset,
      moreFragments: packet.moreFragments || offset + size < packet.payload.length,
      checksum: 0,
      payload,
    };
    const checksum = internetChecksum(encodeIpv4({ ...fragment, payload: NO_BYTES }));
    fragments.push(encodeEthernet({ ...ethernet.value, payload: encodeIpv4({ ...fragment, checksum }) }));
  }
  return fragments;
}
