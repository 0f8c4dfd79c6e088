/** Whole frames: every layer parsed, nothing lost. `encodeFrame(parseFrame(bytes))` gives the same bytes. */
import { ARP_LENGTH, type ArpPacket, encodeArp, parseArp } from "./arp.ts";
import { concatBytes, NO_BYTES } from "./bytes.ts";
import { internetChecksum, isChecksumRight, pseudoHeaderSum } from "./checksum.ts";
import { ETHER_TYPE, type EthernetHeader, encodeEthernet, parseEthernet } from "./ethernet.ts";
import { encodeIcmp, type IcmpMessage, parseIcmp } from "./icmp.ts";
import { encodeIpv4, IP_PROTOCOL, type Ipv4Header, type Ipv4Packet, isFragment, parseIpv4 } from "./ipv4.ts";
import { ok, type ParseError, type ParseResult } from "./result.ts";
import { encodeTcp, parseTcp, type TcpSegment } from "./tcp.ts";
import { encodeUdp, parseUdp, type UdpDatagram } from "./udp.ts";

/** An Ethernet frame with all that is in it. */
export interface Frame extends EthernetHeader {
  network: Network;
}

/** ARP and the bytes behind it: padding, mostly. */
export type ArpNetwork = { kind: "arp"; trailer: Uint8Array } & ArpPacket;

/** IPv4, its transport, and the bytes behind it: padding, mostly. */
export type Ipv4Network = { kind: "ipv4"; transport: Transport; trailer: Uint8Array } & Ipv4Header;

/** What an Ethernet frame carries, told apart by its EtherType. `malformed`: its header is cut short or lies. */
export type Network =
  | ArpNetwork
  | Ipv4Network
  | { kind: "other"; bytes: Uint8Array }
  | { kind: "malformed"; error: ParseError; bytes: Uint8Array };

/**
 * What an IPv4 packet carries, told apart by its protocol. A first fragment is parsed like a whole packet; `fragment`
 * is a later one, which has no transport header.
 */
export type Transport =
  | ({ kind: "tcp" } & TcpSegment)
  | ({ kind: "udp" } & UdpDatagram)
  | { kind: "icmp"; message: IcmpMessage }
  | { kind: "fragment"; bytes: Uint8Array }
  | { kind: "other"; bytes: Uint8Array }
  | { kind: "malformed"; error: ParseError; bytes: Uint8Array };

/**
 * Parses a frame. Only a frame too short for an Ethernet header is an error; what is wrong further in shows as `kind:
 * "malformed"` at its layer, since the layers before it still say whom the frame is for. Payloads are views of
 * `bytes`.
 */
export function parseFrame(bytes: Uint8Array): ParseResult<Frame> {
  const ethernet = parseEthernet(bytes);
  if (!ethernet.ok) return ethernet;
  const { payload, ...header } = ethernet.value;
  return ok({ ...header, network: parseNetwork(header.etherType, payload) });
}

function parseNetwork(etherType: number, bytes: Uint8Array): Network {
  if (etherType === ETHER_TYPE.arp) {
    const arp = parseArp(bytes);
    if (!arp.ok) return { kind: "malformed", error: arp.error, bytes };
    return { kind: "arp", ...arp.value, trailer: bytes.subarray(ARP_LENGTH) };
  }
  if (etherType === ETHER_TYPE.ipv4) {
    const ipv4 = parseIpv4(bytes);
    if (!ipv4.ok) return { kind: "malformed", error: ipv4.error, bytes };
    const { payload, ...header } = ipv4.value;
    return {
      kind: "ipv4",
      ...header,
      transport: parseTransport(ipv4.value),
      trailer: bytes.subarray(header.totalLength),
    };
  }
  return { kind: "other", bytes };
}

function parseTransport({ payload: bytes, ...header }: Ipv4Packet): Transport {
  if (header.fragmentOffset > 0) return { kind: "fragment", bytes };
  switch (header.protocol) {
    case IP_PROTOCOL.tcp: {
      const tcp = parseTcp(bytes);
      return tcp.ok ? { kind: "tcp", ...tcp.value } : { kind: "malformed", error: tcp.error, bytes };
    }
    case IP_PROTOCOL.udp: {
      const udp = parseUdp(bytes, { firstFragment: header.moreFragments });
      return udp.ok ? { kind: "udp", ...udp.value } : { kind: "malformed", error: udp.error, bytes };
    }
    case IP_PROTOCOL.icmp: {
      const icmp = parseIcmp(bytes);
      return icmp.ok
        ? { kind: "icmp", message: icmp.value }
        : { kind: "malformed", error: icmp.error, bytes };
    }
    default:
      return { kind: "other", bytes };
  }
}

/**
 * The bytes of a frame, every field as it is: nothing is computed, so a frame whose addresses were changed needs its
 * checksums updated first (`updateChecksum`). Throws RangeError for a field that does not fit.
 */
export function encodeFrame({ network, ...header }: Frame): Uint8Array {
  return encodeEthernet({ ...header, payload: encodeNetwork(network) });
}

function encodeNetwork(network: Network): Uint8Array {
  switch (network.kind) {
    case "arp":
      return concatBytes(encodeArp(network), network.trailer);
    case "ipv4":
      return concatBytes(
        encodeIpv4({ ...network, payload: encodeTransport(network.transport) }),
        network.trailer,
      );
    default:
      return network.bytes;
  }
}

function encodeTransport(transport: Transport): Uint8Array {
  switch (transport.kind) {
    case "tcp":
      return encodeTcp(transport);
    case "udp":
      return encodeUdp(transport);
    case "icmp":
      return encodeIcmp(transport.message);
    default:
      return transport.bytes;
  }
}

/**
 * All that is wrong with a frame: a layer that cannot be parsed, checksums that do not match. Empty for a right
 * frame. The transport checksum of a fragment is not looked at, it covers the whole datagram. Captures on the sending
 * host show wrong checksums where the network card was to fill them in.
 */
export function frameErrors(bytes: Uint8Array): ParseError[] {
  const frame = parseFrame(bytes);
  if (!frame.ok) return [frame.error];
  const { network } = frame.value;
  if (network.kind === "malformed") return [network.error];
  if (network.kind !== "ipv4") return [];
  const errors: ParseError[] = [];
  const header = encodeIpv4({ ...network, payload: NO_BYTES });
  if (!isChecksumRight(header)) {
    const right = internetChecksum(encodeIpv4({ ...network, checksum: 0, payload: NO_BYTES }));
    errors.push(wrongChecksum("ipv4", network.checksum, right));
  }
  errors.push(...transportErrors(network));
  return errors;
}

function transportErrors(network: Ipv4Network): ParseError[] {
  const { transport } = network;
  if (transport.kind === "malformed") return [transport.error];
  if (isFragment(network)) return [];
  switch (transport.kind) {
    case "tcp": {
      const segment = encodeTcp(transport);
      const pseudo = pseudoHeaderSum(network, segment.length);
      if (isChecksumRight(segment, pseudo)) return [];
      const right = internetChecksum(encodeTcp({ ...transport, checksum: 0 }), pseudo);
      return [wrongChecksum("tcp", transport.checksum, right)];
    }
    case "udp": {
      const datagram = { ...transport, surplus: NO_BYTES };
      const pseudo = pseudoHeaderSum(network, transport.length);
      if (transport.checksum === 0 || isChecksumRight(encodeUdp(datagram), pseudo)) return [];
      const right = internetChecksum(encodeUdp({ ...datagram, checksum: 0 }), pseudo);
      return [wrongChecksum("udp", transport.checksum, right)];
    }
    case "icmp": {
      const { message } = transport;
      if (isChecksumRight(encodeIcmp(message))) return [];
      const right = internetChecksum(encodeIcmp({ ...message, checksum: 0 }));
      return [wrongChecksum("icmp", message.checksum, right)];
    }
    default:
      return [];
  }
}

function wrongChecksum(layer: "ipv4" | "tcp" | "udp" | "icmp", actual: number, right: number): ParseError {
  const hex = (value: number) => `0x${value.toString(16).padStart(4, "0")}`;
  return {
    layer,
    field: "checksum",
    message: `the ${layer} checksum is ${hex(actual)}, right is ${hex(right)}`,
  };
}
