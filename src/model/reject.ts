/** Row I4: what has no service is refused so that the guest knows at once, or dropped where the vif says so. */

import { icmpError, tcpFrame } from "../packet/build.ts";
import { ICMP_TYPE, UNREACHABLE_CODE } from "../packet/icmp.ts";
import { TCP_FLAG, type TcpSegment } from "../packet/tcp.ts";
import { DEFAULT_TTL, type Ipv4Frame, ipv4Packet } from "./rewrite.ts";
import type { ModelService, Vif } from "./state.ts";
import { type Context, type Counted, drop, send, untouched } from "./verdict.ts";

/** One answer in this time, in ns: 100 in a second. */
export const REJECT_INTERVAL = 10_000_000n;

/** So many answers may come at once. */
export const REJECT_BURST = 100n;

/** Type of service of the ICMP errors that Linux makes: internetwork control (RFC 1812 s. 4.3.2.5). */
const ICMP_ERROR_TOS = 0xc0;

/** How much of the asker's payload an ICMP error quotes (RFC 792). */
const QUOTED_PAYLOAD = 8;

/** A port or protocol without service, or TCP that belongs to no flow: as the vif's `unknownPort` says. */
export function refuseUnknown(
  context: Context,
  vif: Vif,
  frame: Ipv4Frame,
  reason: "unknown-port" | "no-flow",
): Counted {
  return vif.unknownPort === "drop" ? drop(reason, vif.ifindex) : reject(context, vif, frame, reason);
}

/** A service without backends: as its `whenNoBackend` says. */
export function refuseWithoutBackend(
  context: Context,
  vif: Vif,
  frame: Ipv4Frame,
  { whenNoBackend }: ModelService,
): Counted {
  if (whenNoBackend === "pass") return untouched("no-backend", vif.ifindex);
  if (whenNoBackend === "drop") return drop("no-backend", vif.ifindex);
  return reject(context, vif, frame, "no-backend");
}

/** Answers with a RST or an ICMP error, as long as the vif has not had too many. */
function reject(
  context: Context,
  vif: Vif,
  frame: Ipv4Frame,
  reason: "unknown-port" | "no-flow" | "no-backend",
): Counted {
  const { transport } = frame.ip;
  const isReset = transport.kind === "tcp" && (transport.flags & TCP_FLAG.rst) !== 0;
  if (isReset || !mayAnswer(vif, context.now)) return drop(reason, vif.ifindex);
  const answer = transport.kind === "tcp" ? reset(frame, transport) : unreachable(frame);
  return send({ kind: "vif", ifindex: vif.ifindex }, answer, reason, vif.ifindex);
}

/**
 * The rate limit (generic cell rate algorithm): `rejectAt` is when the next answer would come if all came at the even rate, and
 * may run ahead of the clock by the burst.
 */
function mayAnswer(vif: Vif, now: bigint): boolean {
  const at = vif.rejectAt > now ? vif.rejectAt : now;
  if (at - now > (REJECT_BURST - 1n) * REJECT_INTERVAL) return false;
  vif.rejectAt = at + REJECT_INTERVAL;
  return true;
}

/** A RST as from a host where nothing listens (RFC 9293 s. 3.10.7.1). */
function reset(frame: Ipv4Frame, segment: TcpSegment): Uint8Array {
  const { ack, syn, fin, rst } = TCP_FLAG;
  const has = (flag: number) => (segment.flags & flag) !== 0;
  const length = segment.data.length + (has(syn) ? 1 : 0) + (has(fin) ? 1 : 0);
  return tcpFrame({
    ...back(frame),
    // The header keeps its length, its options are gone: zeros are the end of the list.
    ip: { dontFragment: true, ttl: DEFAULT_TTL, options: new Uint8Array(frame.ip.options.length) },
    sourcePort: segment.destinationPort,
    destinationPort: segment.sourcePort,
    flags: has(ack) ? rst : rst | ack,
    tcp: {
      sequence: has(ack) ? segment.acknowledgement : 0,
      acknowledgement: has(ack) ? 0 : (segment.sequence + length) % 2 ** 32,
      window: 0,
    },
  });
}

/** ICMP port unreachable for UDP, protocol unreachable for all else (RFC 792, RFC 1122 s. 3.2.2.1). */
function unreachable(frame: Ipv4Frame): Uint8Array {
  const { headerLength, transport } = frame.ip;
  return icmpError({
    ...back(frame),
    ip: { dontFragment: true, ttl: DEFAULT_TTL, tos: ICMP_ERROR_TOS },
    type: ICMP_TYPE.destinationUnreachable,
    code: transport.kind === "udp" ? UNREACHABLE_CODE.port : UNREACHABLE_CODE.protocol,
    quoted: ipv4Packet(frame.bytes, frame.ip).slice(0, headerLength + QUOTED_PAYLOAD),
  });
}

/** From the service address, and the MAC that was asked, to the asker. */
function back({ ethernet, ip }: Ipv4Frame): {
  sourceMac: string;
  destinationMac: string;
  source: string;
  destination: string;
} {
  return {
    sourceMac: ethernet.destination,
    destinationMac: ethernet.source,
    source: ip.destination,
    destination: ip.source,
  };
}
