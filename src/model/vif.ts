/** From the guest: the stages in their order (DESIGN section 3). */
import { ETHER_TYPE } from "../packet/ethernet.ts";
import { type Frame, parseFrame } from "../packet/frame.ts";
import { ICMP_TYPE, type IcmpMessage } from "../packet/icmp.ts";
import { arpFromGuest } from "./arp.ts";
import { echoReply } from "./echo.ts";
import { findFlow } from "./flow.ts";
import { followFirst } from "./fragments.ts";
import { icmpErrorFromGuest, isIcmpError } from "./icmp-error.ts";
import { learnGuest } from "./learn.ts";
import { natFromGuest, sendToBackend } from "./nat.ts";
import { hasVlanTag, ipv4Destination, isMulticastMac, isUnicastAddress, readIpv4 } from "./parse.ts";
import { refuseUnknown } from "./reject.ts";
import type { Ipv4Frame } from "./rewrite.ts";
import { dropSpoofed } from "./spoof.ts";
import type { Vif } from "./state.ts";
import { type Context, type Counted, drop, untouched } from "./verdict.ts";

/** A frame from a guest. An interface that is no vif is left alone. */
export function fromGuest(context: Context, bytes: Uint8Array): Counted {
  const frame = parseFrame(bytes);
  if (!frame.ok) return untouched();
  const vif = context.state.vifs.get(context.ifindex);
  if (hasVlanTag(frame.value)) return untouched("vlan", vif?.ifindex); // V
  if (vif === undefined) return untouched();
  switch (frame.value.etherType) {
    case ETHER_TYPE.arp:
      return arpFromGuest(context, vif, bytes, frame.value.network); // A1-A5
    case ETHER_TYPE.ipv4:
      return ipv4FromGuest(context, vif, bytes, frame.value);
    default:
      return untouched();
  }
}

function ipv4FromGuest(context: Context, vif: Vif, bytes: Uint8Array, parsed: Frame): Counted {
  const destination = ipv4Destination(bytes);
  if (destination === undefined || !context.state.serviceAddresses.has(destination)) return untouched(); // I1
  const frame = readIpv4(parsed, bytes);
  if (frame === undefined || isMulticastMac(parsed.destination) || !isUnicastAddress(frame.ip.source))
    return drop("malformed", vif.ifindex); // I9
  const spoofed = dropSpoofed(context, vif, frame); // I7
  if (spoofed !== undefined) return spoofed;
  const { transport } = frame.ip;
  switch (transport.kind) {
    case "fragment":
      return followFirst(context, frame) ?? drop("fragment", vif.ifindex); // I5
    case "malformed":
      return drop("malformed", vif.ifindex); // I9
    case "tcp":
    case "udp":
      return natFromGuest(context, vif, frame, transport); // I2, I4, I8
    case "icmp":
      learnGuest(vif, frame);
      return icmpFromGuest(context, vif, frame, transport.message);
    case "other":
      learnGuest(vif, frame);
      return refuseUnknown(context, vif, frame, "unknown-port"); // I4
  }
}

function icmpFromGuest(context: Context, vif: Vif, frame: Ipv4Frame, message: IcmpMessage): Counted {
  if (message.type === ICMP_TYPE.echoRequest) return echoReply(context, vif, frame); // I3
  if (message.kind === "echo") {
    const flow = findFlow(context, {
      vif: vif.ifindex,
      protocol: "icmp",
      guest: frame.ip.source,
      guestPort: 0,
      service: frame.ip.destination,
      servicePort: message.identifier,
    });
    return flow === undefined ? drop("no-flow", vif.ifindex) : sendToBackend(context, flow, frame);
  }
  if (isIcmpError(frame)) return icmpErrorFromGuest(context, vif, frame); // I6
  return drop("unknown-port", vif.ifindex); // I4, but ICMP is never answered with an ICMP error
}
