/** Ethernet II frames with 802.1Q and 802.1ad tags; no preamble and no frame check sequence, as hosts see them. */
import { macFromBytes, macToBytes } from "./address.ts";
import { concatBytes, uint, viewOf } from "./bytes.ts";
import { fail, ok, type ParseResult } from "./result.ts";

/** EtherTypes that onlink knows. */
export const ETHER_TYPE = {
  ipv4: 0x0800,
  arp: 0x0806,
  /** 802.1Q tag. */
  vlan: 0x8100,
  ipv6: 0x86dd,
  /** 802.1ad service tag (QinQ). */
  serviceVlan: 0x88a8,
} as const;

/** Bytes of an untagged Ethernet header. */
export const ETHERNET_HEADER_LENGTH = 14;

/**
 * Least length of a frame on the wire without its check sequence; shorter ones are padded (IEEE 802.3 s. 4A.2.3.2.4).
 */
export const ETHERNET_MIN_LENGTH = 60;

const VLAN_TAG_LENGTH = 4;

/** One 802.1Q or 802.1ad tag. */
export interface VlanTag {
  /** EtherType that announces the tag: `ETHER_TYPE.vlan` or `ETHER_TYPE.serviceVlan`. */
  type: number;
  /** Priority code point, 0-7. */
  priority: number;
  dropEligible: boolean;
  /** VLAN, 0-4095. */
  id: number;
}

/** The header of an Ethernet frame. */
export interface EthernetHeader {
  destination: string;
  source: string;
  /** Outermost first; empty for most frames. */
  vlanTags: VlanTag[];
  /** What follows the tags; below 1536 it is an 802.3 length and no type. */
  etherType: number;
}

/** An Ethernet frame. The payload may end in padding: only the layer above knows its length. */
export interface EthernetFrame extends EthernetHeader {
  payload: Uint8Array;
}

/**
 * Parses an Ethernet frame; the payload is a view. A tag that is cut short is not an error of the frame, which still
 * has a header: its type is then the `etherType`, and the stump of the tag is the payload.
 */
export function parseEthernet(bytes: Uint8Array): ParseResult<EthernetFrame> {
  if (bytes.length < ETHERNET_HEADER_LENGTH)
    return fail(
      "ethernet",
      "header",
      `the Ethernet header has ${ETHERNET_HEADER_LENGTH} bytes, the frame ${bytes.length}`,
    );
  const view = viewOf(bytes);
  const vlanTags: VlanTag[] = [];
  let offset = ETHERNET_HEADER_LENGTH;
  let etherType = view.getUint16(offset - 2);
  while (isTagType(etherType) && bytes.length - offset >= VLAN_TAG_LENGTH) {
    const control = view.getUint16(offset);
    vlanTags.push({
      type: etherType,
      priority: control >>> 13,
      dropEligible: (control & 0x1000) !== 0,
      id: control & 0xfff,
    });
    offset += VLAN_TAG_LENGTH;
    etherType = view.getUint16(offset - 2);
  }
  return ok({
    destination: macFromBytes(bytes, 0),
    source: macFromBytes(bytes, 6),
    vlanTags,
    etherType,
    payload: bytes.subarray(offset),
  });
}

/** The bytes of an Ethernet frame. Nothing is padded. Throws RangeError for a field that does not fit. */
export function encodeEthernet(frame: EthernetFrame): Uint8Array {
  const header = new Uint8Array(ETHERNET_HEADER_LENGTH + VLAN_TAG_LENGTH * frame.vlanTags.length);
  const view = viewOf(header);
  header.set(macToBytes(frame.destination), 0);
  header.set(macToBytes(frame.source), 6);
  let offset = 12;
  for (const tag of frame.vlanTags) {
    const control =
      (uint("priority", tag.priority, 3) << 13) | (tag.dropEligible ? 0x1000 : 0) | uint("id", tag.id, 12);
    view.setUint16(offset, uint("type", tag.type, 16));
    view.setUint16(offset + 2, control);
    offset += VLAN_TAG_LENGTH;
  }
  view.setUint16(offset, uint("etherType", frame.etherType, 16));
  return concatBytes(header, frame.payload);
}

/** Whether a frame is VLAN-tagged, with a tag that is cut short too (row V). */
export function isVlanTagged(frame: EthernetHeader): boolean {
  return frame.vlanTags.length > 0 || isTagType(frame.etherType);
}

function isTagType(etherType: number): boolean {
  return etherType === ETHER_TYPE.vlan || etherType === ETHER_TYPE.serviceVlan;
}
