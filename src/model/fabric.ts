/** From the fabric: the interfaces that lead to fabric backends. Most traffic there is the host's own and left alone, uncounted. */
import { parseFrame } from "../packet/frame.ts";
import { findReverse } from "./flow.ts";
import { followFirst } from "./fragments.ts";
import { icmpErrorToGuest, isIcmpError } from "./icmp-error.ts";
import { sendToGuest } from "./nat.ts";
import { hasVlanTag, readIpv4 } from "./parse.ts";
import type { Ipv4Frame, PortTransport } from "./rewrite.ts";
import { type Context, type Counted, untouched } from "./verdict.ts";

/** A frame from the fabric. `forThisHost`: its destination MAC is the interface's own (the kernel's PACKET_HOST). */
export function fromFabric(context: Context, bytes: Uint8Array, forThisHost: boolean): Counted {
  const parsed = parseFrame(bytes);
  if (!parsed.ok || hasVlanTag(parsed.value) || !forThisHost) return untouched();
  const frame = readIpv4(parsed.value, bytes);
  if (frame === undefined) return untouched();
  const { transport } = frame.ip;
  switch (transport.kind) {
    case "fragment":
      return followFirst(context, frame) ?? untouched(); // I5
    case "tcp":
    case "udp":
      return returnToGuest(context, frame, transport) ?? untouched(); // I2
    case "icmp":
      return (isIcmpError(frame) ? icmpErrorToGuest(context, frame, "fabric") : undefined) ?? untouched(); // I6
    default:
      return untouched();
  }
}

/** The reverse of a flow; undefined where it is none. */
function returnToGuest(context: Context, frame: Ipv4Frame, transport: PortTransport): Counted | undefined {
  const { min, max } = context.state.settings.fabricPorts;
  const natPort = transport.destinationPort;
  if (natPort < min || natPort > max) return undefined;
  const flow = findReverse(context, {
    kind: "fabric",
    protocol: transport.kind,
    backend: frame.ip.source,
    backendPort: transport.sourcePort,
    nat: frame.ip.destination,
    natPort,
  });
  return flow === undefined ? undefined : sendToGuest(context, flow, frame);
}
