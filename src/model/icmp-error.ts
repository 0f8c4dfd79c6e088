/**
 * Row I6: an ICMP error about a flow quotes the packet that it is about as that was when it went wrong, behind the translation. The
 * other side is to see the packet that it sent itself (RFC 5508 s. 4.2).
 */
import { ipv4FromBytes } from "../packet/address.ts";
import { viewOf } from "../packet/bytes.ts";
import { ICMP_HEADER_LENGTH, ICMP_TYPE } from "../packet/icmp.ts";
import { IP_PROTOCOL, IPV4_HEADER_LENGTH } from "../packet/ipv4.ts";
import { findFlow, findReverse } from "./flow.ts";
import { wayToBackend, wayToGuest } from "./nat.ts";
import { type Ipv4Frame, ipv4Packet, readdressPacket, rewriteFrame, updateChecksumBytes } from "./rewrite.ts";
import type { FlowProtocol, Vif, Way } from "./state.ts";
import { type Context, type Counted, drop, send } from "./verdict.ts";

const PASSED_ON: ReadonlySet<number> = new Set([
  ICMP_TYPE.destinationUnreachable,
  ICMP_TYPE.timeExceeded,
  ICMP_TYPE.parameterProblem,
]);

/** Whether the frame holds a whole ICMP error of a kind that is passed on. */
export function isIcmpError({ ip: { transport, moreFragments } }: Ipv4Frame): boolean {
  return transport.kind === "icmp" && !moreFragments && PASSED_ON.has(transport.message.type);
}

/** An error from the guest, about a packet that it got from the service address. */
export function icmpErrorFromGuest(context: Context, vif: Vif, frame: Ipv4Frame): Counted {
  const quoted = readQuoted(frame);
  const flow =
    quoted?.source === frame.ip.destination
      ? findFlow(context, {
          vif: vif.ifindex,
          protocol: quoted.protocol,
          guest: quoted.destination,
          guestPort: quoted.destinationPort,
          service: quoted.source,
          servicePort: quoted.sourcePort,
        })
      : undefined;
  if (flow === undefined) return drop("no-flow", vif.ifindex);
  return passOn(frame, wayToBackend(context.state.settings, flow));
}

/** An error from the host or the fabric, about a packet of a guest as the backend saw it; undefined where there is no such flow. */
export function icmpErrorToGuest(
  context: Context,
  frame: Ipv4Frame,
  kind: "host-local" | "fabric",
): Counted | undefined {
  const quoted = readQuoted(frame);
  if (quoted?.source !== frame.ip.destination) return undefined;
  const flow = findReverse(context, {
    kind,
    protocol: quoted.protocol,
    backend: quoted.destination,
    backendPort: quoted.destinationPort,
    nat: quoted.source,
    natPort: quoted.sourcePort,
  });
  return flow === undefined ? undefined : passOn(frame, wayToGuest(flow));
}

/** The error goes as the flow's own frames do; the quoted packet went the other way and gets the addresses of that. */
function passOn(frame: Ipv4Frame, way: Way): Counted {
  const bytes = rewriteFrame(frame, { ...way, ports: undefined });
  const icmp = ipv4Packet(bytes, frame.ip).subarray(frame.ip.headerLength);
  const quoted = icmp.subarray(ICMP_HEADER_LENGTH);
  const before = new Uint8Array(quoted);
  readdressPacket(quoted, {
    source: way.destination,
    destination: way.source,
    ports: way.ports && { source: way.ports.destination, destination: way.ports.source },
  });
  const even = quoted.length - (quoted.length % 2); // an odd last byte is data and has not changed
  const view = viewOf(icmp);
  view.setUint16(
    2,
    updateChecksumBytes(view.getUint16(2), before.subarray(0, even), quoted.subarray(0, even)),
  );
  return send(way.to, bytes, "icmp-error", way.vif);
}

interface Quoted {
  protocol: FlowProtocol;
  source: string;
  sourcePort: number;
  destination: string;
  destinationPort: number;
}

/**
 * The endpoints of the packet that an error quotes. Undefined where they are not there: less than a whole IPv4 header and 8 bytes of
 * TCP or UDP, or a later fragment. The quoted total length is not looked at: it goes beyond what is quoted.
 */
function readQuoted({ bytes, ip }: Ipv4Frame): Quoted | undefined {
  const quoted = ipv4Packet(bytes, ip).subarray(ip.headerLength + ICMP_HEADER_LENGTH);
  if (quoted.length < IPV4_HEADER_LENGTH) return undefined;
  const view = viewOf(quoted);
  const version = view.getUint8(0) >>> 4;
  const header = (view.getUint8(0) & 0xf) * 4;
  const offset = view.getUint16(6) & 0x1fff;
  const protocol = PROTOCOLS.get(view.getUint8(9));
  if (version !== 4 || header < IPV4_HEADER_LENGTH || offset > 0 || protocol === undefined) return undefined;
  if (quoted.length < header + 8) return undefined;
  return {
    protocol,
    source: ipv4FromBytes(quoted, 12),
    sourcePort: view.getUint16(header),
    destination: ipv4FromBytes(quoted, 16),
    destinationPort: view.getUint16(header + 2),
  };
}

const PROTOCOLS: ReadonlyMap<number, FlowProtocol> = new Map([
  [IP_PROTOCOL.tcp, "tcp"],
  [IP_PROTOCOL.udp, "udp"],
]);
