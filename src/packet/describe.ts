/** Frames as one line of text each, for people. */
import { UNSPECIFIED_ADDRESS } from "./address.ts";
import { ARP_OPERATION } from "./arp.ts";
import { ETHER_TYPE } from "./ethernet.ts";
import {
  type ArpNetwork,
  type Frame,
  type Ipv4Network,
  type Network,
  parseFrame,
  type Transport,
} from "./frame.ts";
import { ICMP_TYPE, type IcmpMessage, parseQuotedPacket, UNREACHABLE_CODE } from "./icmp.ts";
import { isFragment } from "./ipv4.ts";
import { TCP_FLAG } from "./tcp.ts";

/**
 * A frame in one line, in the manner of tcpdump: MAC addresses, then the packet, then the length of the whole frame
 * in bytes, padding included. Any bytes give a line; a layer that cannot be parsed says what is wrong with it.
 */
export function describeFrame(bytes: Uint8Array): string {
  const frame = parseFrame(bytes);
  if (!frame.ok) return `malformed: ${frame.error.message}`;
  const { source, destination, vlanTags, etherType, network } = frame.value;
  const tags = vlanTags.map((tag) => `vlan ${tag.id}, `).join("");
  return `${source} > ${destination}, ${tags}${describeNetwork(etherType, network)}, length ${bytes.length}`;
}

function describeNetwork(etherType: Frame["etherType"], network: Network): string {
  switch (network.kind) {
    case "arp":
      return `ARP ${describeArp(network)}`;
    case "ipv4":
      return `IP ${describeIpv4(network)}`;
    case "malformed":
      return `${network.error.layer} malformed: ${network.error.message}`;
    case "other":
      if (etherType === ETHER_TYPE.ipv6) return "IPv6";
      return etherType < 1536 ? `802.3 length ${etherType}` : `ethertype ${hex(etherType)}`;
  }
}

function describeArp(arp: ArpNetwork): string {
  const { operation, senderMac, senderAddress, targetAddress } = arp;
  if (operation === ARP_OPERATION.reply) return `reply ${senderAddress} is-at ${senderMac}`;
  if (operation !== ARP_OPERATION.request) return `operation ${operation}`;
  if (senderAddress === UNSPECIFIED_ADDRESS) return `probe who-has ${targetAddress}`;
  if (senderAddress === targetAddress) return `announcement ${senderAddress} is-at ${senderMac}`;
  return `request who-has ${targetAddress} tell ${senderAddress}`;
}

function describeIpv4(ipv4: Ipv4Network): string {
  const { source, destination, transport, fragmentOffset, totalLength, headerLength, moreFragments } = ipv4;
  const ports = transport.kind === "tcp" || transport.kind === "udp";
  const from = ports ? `${source}:${transport.sourcePort}` : source;
  const to = ports ? `${destination}:${transport.destinationPort}` : destination;
  const end = fragmentOffset + totalLength - headerLength;
  const fragment = isFragment(ipv4)
    ? `, fragment ${fragmentOffset}-${end}${moreFragments ? "" : " (last)"} of id ${ipv4.identification}`
    : "";
  return `${from} > ${to}: ${describeTransport(transport, ipv4.protocol)}${fragment}`;
}

function describeTransport(transport: Transport, protocol: number): string {
  switch (transport.kind) {
    case "tcp": {
      const acknowledgement =
        (transport.flags & TCP_FLAG.ack) !== 0 ? `, ack ${transport.acknowledgement}` : "";
      return `TCP [${describeFlags(transport.flags)}] seq ${transport.sequence}${acknowledgement}, win ${transport.window}, data ${transport.data.length}`;
    }
    case "udp":
      return `UDP data ${transport.length - 8}${transport.checksum === 0 ? ", no checksum" : ""}`;
    case "icmp":
      return `ICMP ${describeIcmp(transport.message)}`;
    case "malformed":
      return `${transport.error.layer} malformed: ${transport.error.message}`;
    default:
      return `protocol ${protocol}, data ${transport.bytes.length}`;
  }
}

// tcpdump's letters: the dot is ACK, so that the common [.] and [P.] stand out from [S], [F.] and [R].
const FLAG_LETTERS = [
  [TCP_FLAG.fin, "F"],
  [TCP_FLAG.syn, "S"],
  [TCP_FLAG.rst, "R"],
  [TCP_FLAG.psh, "P"],
  [TCP_FLAG.ack, "."],
  [TCP_FLAG.urg, "U"],
  [TCP_FLAG.ece, "E"],
  [TCP_FLAG.cwr, "W"],
] as const;

function describeFlags(flags: number): string {
  const letters = FLAG_LETTERS.filter(([bit]) => (flags & bit) !== 0).map(([, letter]) => letter);
  return letters.length === 0 ? "none" : letters.join("");
}

function describeIcmp(message: IcmpMessage): string {
  switch (message.kind) {
    case "echo": {
      const what = message.type === ICMP_TYPE.echoRequest ? "echo request" : "echo reply";
      return `${what}, id ${message.identifier}, seq ${message.sequence}, data ${message.data.length}`;
    }
    case "error":
      return `${describeError(message.type, message.code)}, about ${describeQuoted(message.quoted)}`;
    case "other":
      return `type ${message.type} code ${message.code}, data ${message.data.length}`;
  }
}

function describeError(type: number, code: number): string {
  if (type === ICMP_TYPE.timeExceeded) return "time exceeded";
  if (type === ICMP_TYPE.redirect) return "redirect";
  if (type !== ICMP_TYPE.destinationUnreachable) return `type ${type} code ${code}`;
  switch (code) {
    case UNREACHABLE_CODE.protocol:
      return "protocol unreachable";
    case UNREACHABLE_CODE.port:
      return "port unreachable";
    case UNREACHABLE_CODE.fragmentationNeeded:
      return "fragmentation needed";
    default:
      return `unreachable code ${code}`;
  }
}

function describeQuoted(bytes: Uint8Array): string {
  const quoted = parseQuotedPacket(bytes);
  if (!quoted.ok) return `a malformed packet (${quoted.error.message})`;
  const { ipv4, transport } = quoted.value;
  if (transport.kind === "tcp" || transport.kind === "udp") {
    const { sourcePort, destinationPort } = transport;
    return `${ipv4.source}:${sourcePort} > ${ipv4.destination}:${destinationPort} ${transport.kind.toUpperCase()}`;
  }
  const what = transport.kind === "icmp" ? "ICMP" : `protocol ${ipv4.protocol}`;
  return `${ipv4.source} > ${ipv4.destination} ${what}`;
}

function hex(value: number): string {
  return `0x${value.toString(16).padStart(4, "0")}`;
}
