/** What the three sides ask of a frame before its rows. */
import { ipv4ToUint32 } from "../packet/address.ts";
import { ETHER_TYPE, ETHERNET_HEADER_LENGTH } from "../packet/ethernet.ts";
import type { Frame } from "../packet/frame.ts";
import { IPV4_HEADER_LENGTH, uncheckedIpv4Destination } from "../packet/ipv4.ts";
import type { Ipv4Frame } from "./rewrite.ts";

/** Row V: whether a VLAN tag follows the MACs, a whole one or the stump of one. */
export function hasVlanTag({ etherType, vlanTags }: Frame): boolean {
  return vlanTags.length > 0 || etherType === ETHER_TYPE.vlan || etherType === ETHER_TYPE.serviceVlan;
}

/** Whether the frame says that it is IPv4 and is long enough for a header without options, right or not. */
export function isIpv4({ etherType }: Frame, bytes: Uint8Array): boolean {
  return etherType === ETHER_TYPE.ipv4 && bytes.length >= ETHERNET_HEADER_LENGTH + IPV4_HEADER_LENGTH;
}

/** Row I1: the destination of what claims to be IPv4, nothing checked; undefined where the frame is too short. */
export function ipv4Destination(bytes: Uint8Array): string | undefined {
  return uncheckedIpv4Destination(bytes.subarray(ETHERNET_HEADER_LENGTH));
}

/** Row I9: the frame, if version, header length and total length agree with it. */
export function readIpv4(frame: Frame, bytes: Uint8Array): Ipv4Frame | undefined {
  const { network, ...ethernet } = frame;
  return network.kind === "ipv4" ? { bytes, ethernet, ip: network } : undefined;
}

/** Row I9: broadcast is multicast too. */
export function isMulticastMac(mac: string): boolean {
  return (Number.parseInt(mac.slice(0, 2), 16) & 1) === 1;
}

/** Row I9: an address that a packet can come from; not 0/8, 127/8, multicast or above (RFC 1122 s. 3.2.1.3). */
export function isUnicastAddress(address: string): boolean {
  const first = ipv4ToUint32(address) >>> 24;
  return first !== 0 && first !== 127 && first < 224;
}
