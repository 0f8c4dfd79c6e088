/** Row I3: ICMP echo to a service address (RFC 792). */
import { viewOf } from "../packet/bytes.ts";
import { updateChecksum } from "../packet/checksum.ts";
import { ICMP_TYPE } from "../packet/icmp.ts";
import { rememberFirst } from "./fragments.ts";
import { DEFAULT_TTL, type Ipv4Frame, ipv4Packet, rewriteFrame } from "./rewrite.ts";
import type { Vif, Way } from "./state.ts";
import { type Context, type Counted, send } from "./verdict.ts";

/** Answers an echo request, or its first fragment: its checksum is that of the whole message, which is updated all the same. */
export function echoReply(context: Context, vif: Vif, frame: Ipv4Frame): Counted {
  const { ethernet, ip } = frame;
  const way: Way = {
    to: { kind: "vif", ifindex: vif.ifindex },
    vif: vif.ifindex,
    reason: "echo-reply",
    sourceMac: ethernet.destination,
    destinationMac: ethernet.source,
    source: ip.destination,
    destination: ip.source,
    ports: undefined,
    ttl: DEFAULT_TTL,
  };
  rememberFirst(context, frame, way);
  const bytes = rewriteFrame(frame, way);
  const icmp = viewOf(ipv4Packet(bytes, ip).subarray(ip.headerLength));
  const word = icmp.getUint16(0);
  const changed = (ICMP_TYPE.echoReply << 8) | (word & 0xff);
  icmp.setUint16(0, changed);
  icmp.setUint16(2, updateChecksum(icmp.getUint16(2), word, changed));
  return send(way.to, bytes, way.reason, way.vif);
}
