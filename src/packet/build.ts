/**
 * Frames built with one call each. The call names what matters, the rest has defaults, and lengths and checksums are
 * computed at the end. To make a wrong frame, give the field: whatever stands in `arp`, `ip`, `tcp`, `udp` or `icmp`
 * is written as it is, and checksums not given are computed over it, so that one lie stays one lie.
 */
import { BROADCAST_MAC, UNSPECIFIED_ADDRESS, ZERO_MAC } from "./address.ts";
import { ARP_OPERATION, type ArpPacket, encodeArp } from "./arp.ts";
import { concatBytes, NO_BYTES, padToMultiple } from "./bytes.ts";
import { internetChecksum, transportChecksum, udpChecksumField } from "./checksum.ts";
import { ETHER_TYPE, type EthernetHeader, encodeEthernet } from "./ethernet.ts";
import { encodeIcmp, ICMP_TYPE, type IcmpMessage } from "./icmp.ts";
import { encodeIpv4, IP_PROTOCOL, IPV4_HEADER_LENGTH, type Ipv4Header, type Ipv4Packet } from "./ipv4.ts";
import { encodeTcp, TCP_HEADER_LENGTH, type TcpHeader, type TcpSegment } from "./tcp.ts";
import { encodeUdp, UDP_HEADER_LENGTH, type UdpHeader } from "./udp.ts";

/** What every builder takes for the Ethernet header. */
export interface EthernetFields {
  sourceMac: string;
  destinationMac: string;
  /** Default none. */
  vlanTags?: EthernetHeader["vlanTags"];
  /** Zeros are added up to this many bytes; a card pads to `ETHERNET_MIN_LENGTH`. Default 0. */
  padTo?: number;
}

/** What every IPv4 builder takes besides. */
export interface Ipv4Fields extends EthernetFields {
  source: string;
  destination: string;
  /** Any header field. Default TTL 64, the rest zero or computed; options are padded to whole words with zeros. */
  ip?: Partial<Ipv4Header>;
}

/** Fields of an ARP frame; `arp` overrides. Default Ethernet addresses are those that the ARP packet implies. */
interface ArpFields extends Partial<EthernetFields> {
  senderMac: string;
  targetAddress: string;
  arp?: Partial<ArpPacket>;
}

/** An ARP request, to the broadcast address unless told otherwise. */
export function arpRequest(fields: ArpFields & { senderAddress: string }): Uint8Array {
  return arpFrame(
    fields,
    { ...fields, operation: ARP_OPERATION.request, targetMac: ZERO_MAC },
    BROADCAST_MAC,
  );
}

/** An ARP reply, to the target's MAC unless told otherwise. */
export function arpReply(fields: ArpFields & { senderAddress: string; targetMac: string }): Uint8Array {
  return arpFrame(fields, { ...fields, operation: ARP_OPERATION.reply }, fields.targetMac);
}

/** An ARP probe (RFC 5227 s. 1.1): a request without a sender address. */
export function arpProbe(fields: ArpFields): Uint8Array {
  return arpRequest({ ...fields, senderAddress: UNSPECIFIED_ADDRESS });
}

/** An ARP announcement (RFC 5227 s. 1.1): a request for the sender's own address. */
export function arpAnnouncement({
  address,
  ...fields
}: Omit<ArpFields, "targetAddress"> & { address: string }): Uint8Array {
  return arpRequest({ ...fields, senderAddress: address, targetAddress: address });
}

function arpFrame(fields: ArpFields, packet: ArpPacket, destinationMac: string): Uint8Array {
  return ethernetFrame({
    sourceMac: fields.senderMac,
    destinationMac,
    ...fields,
    etherType: ETHER_TYPE.arp,
    payload: encodeArp({ ...packet, ...fields.arp }),
  });
}

/**
 * A TCP frame. Default: no flags, window 64240, no options; options are padded to whole words with zeros (end of
 * list).
 */
export function tcpFrame(
  fields: Ipv4Fields & {
    sourcePort: number;
    destinationPort: number;
    /** Bits of `TCP_FLAG`. */
    flags?: number;
    data?: Uint8Array;
    tcp?: Partial<TcpHeader>;
  },
): Uint8Array {
  const options = padToMultiple(fields.tcp?.options ?? NO_BYTES, 4);
  const segment: TcpSegment = {
    sourcePort: fields.sourcePort,
    destinationPort: fields.destinationPort,
    sequence: 0,
    acknowledgement: 0,
    headerLength: TCP_HEADER_LENGTH + options.length,
    reserved: 0,
    flags: fields.flags ?? 0,
    window: 64240,
    urgentPointer: 0,
    checksum: 0,
    ...fields.tcp,
    options,
    data: fields.data ?? NO_BYTES,
  };
  const pseudo = { source: fields.source, destination: fields.destination, protocol: IP_PROTOCOL.tcp };
  const checksum = fields.tcp?.checksum ?? transportChecksum(pseudo, encodeTcp({ ...segment, checksum: 0 }));
  return ipv4Frame({ ...fields, protocol: IP_PROTOCOL.tcp, payload: encodeTcp({ ...segment, checksum }) });
}

/** A UDP frame. `udp: { checksum: 0 }` sends it without checksum. */
export function udpFrame(
  fields: Ipv4Fields & {
    sourcePort: number;
    destinationPort: number;
    data?: Uint8Array;
    udp?: Partial<UdpHeader>;
  },
): Uint8Array {
  const data = fields.data ?? NO_BYTES;
  const datagram = {
    sourcePort: fields.sourcePort,
    destinationPort: fields.destinationPort,
    length: UDP_HEADER_LENGTH + data.length,
    checksum: 0,
    ...fields.udp,
    data,
    surplus: NO_BYTES,
  };
  const pseudo = { source: fields.source, destination: fields.destination, protocol: IP_PROTOCOL.udp };
  const checksum =
    fields.udp?.checksum ??
    udpChecksumField(transportChecksum(pseudo, encodeUdp({ ...datagram, checksum: 0 })));
  return ipv4Frame({ ...fields, protocol: IP_PROTOCOL.udp, payload: encodeUdp({ ...datagram, checksum }) });
}

/** Fields of an ICMP echo frame. */
interface EchoFields extends Ipv4Fields {
  identifier: number;
  sequence: number;
  data?: Uint8Array;
  icmp?: { code?: number; checksum?: number };
}

/** An ICMP echo request. */
export function echoRequest(fields: EchoFields): Uint8Array {
  return echoFrame(ICMP_TYPE.echoRequest, fields);
}

/** An ICMP echo reply. */
export function echoReply(fields: EchoFields): Uint8Array {
  return echoFrame(ICMP_TYPE.echoReply, fields);
}

function echoFrame(type: number, fields: EchoFields): Uint8Array {
  const { identifier, sequence, data = NO_BYTES } = fields;
  const code = fields.icmp?.code ?? 0;
  const message: IcmpMessage = { kind: "echo", type, code, checksum: 0, identifier, sequence, data };
  return icmpFrame(fields, message, fields.icmp?.checksum);
}

/** An ICMP error about a packet. */
export function icmpError(
  fields: Ipv4Fields & {
    /** One of `ICMP_TYPE`. */
    type: number;
    code: number;
    /** As in `IcmpError`. Default 0. */
    parameter?: number;
    /** The packet that the error is about, from its IPv4 header on, as much of it as is to be quoted. */
    quoted: Uint8Array;
    icmp?: { checksum?: number };
  },
): Uint8Array {
  const { type, code, parameter = 0, quoted } = fields;
  const message: IcmpMessage = { kind: "error", type, code, checksum: 0, parameter, quoted };
  return icmpFrame(fields, message, fields.icmp?.checksum);
}

function icmpFrame(fields: Ipv4Fields, message: IcmpMessage, givenChecksum: number | undefined): Uint8Array {
  const checksum = givenChecksum ?? internetChecksum(encodeIcmp(message));
  return ipv4Frame({ ...fields, protocol: IP_PROTOCOL.icmp, payload: encodeIcmp({ ...message, checksum }) });
}

/** An IPv4 frame with any payload: other protocols, later fragments, transport headers that are cut short. */
export function ipv4Frame(fields: Ipv4Fields & { protocol: number; payload: Uint8Array }): Uint8Array {
  const options = padToMultiple(fields.ip?.options ?? NO_BYTES, 4);
  const headerLength = IPV4_HEADER_LENGTH + options.length;
  const packet: Ipv4Packet = {
    headerLength,
    tos: 0,
    totalLength: headerLength + fields.payload.length,
    identification: 0,
    reservedFlag: false,
    dontFragment: false,
    moreFragments: false,
    fragmentOffset: 0,
    ttl: 64,
    protocol: fields.protocol,
    checksum: 0,
    source: fields.source,
    destination: fields.destination,
    ...fields.ip,
    options,
    payload: fields.payload,
  };
  const checksum =
    fields.ip?.checksum ?? internetChecksum(encodeIpv4({ ...packet, checksum: 0, payload: NO_BYTES }));
  return ethernetFrame({
    ...fields,
    etherType: ETHER_TYPE.ipv4,
    payload: encodeIpv4({ ...packet, checksum }),
  });
}

/** An Ethernet frame with any payload. */
export function ethernetFrame(
  fields: EthernetFields & { etherType: number; payload: Uint8Array },
): Uint8Array {
  const bytes = encodeEthernet({
    source: fields.sourceMac,
    destination: fields.destinationMac,
    vlanTags: fields.vlanTags ?? [],
    etherType: fields.etherType,
    payload: fields.payload,
  });
  return concatBytes(bytes, new Uint8Array(Math.max(0, (fields.padTo ?? 0) - bytes.length)));
}
