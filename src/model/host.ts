/** From the host: what enters at onlink0's peer. It leads nowhere else, so what is not for a guest is dropped. */
import { parseFrame } from "../packet/frame.ts";
import { ICMP_TYPE } from "../packet/icmp.ts";
import { endFlow, findReverse, replacesFlow } from "./flow.ts";
import { followFirst } from "./fragments.ts";
import { openToGuest } from "./host-to-guest.ts";
import { icmpErrorToGuest, isIcmpError } from "./icmp-error.ts";
import { sendToGuest } from "./nat.ts";
import { hasVlanTag, isIpv4, readIpv4 } from "./parse.ts";
import type { Ipv4Frame } from "./rewrite.ts";
import type { ReverseKey } from "./state.ts";
import { type Context, type Counted, drop } from "./verdict.ts";

/** A frame from the host's stack. */
export function fromHost(context: Context, bytes: Uint8Array): Counted {
  const parsed = parseFrame(bytes);
  if (!parsed.ok || hasVlanTag(parsed.value) || !isIpv4(parsed.value, bytes)) return drop();
  const frame = readIpv4(parsed.value, bytes);
  if (frame === undefined || frame.ip.transport.kind === "malformed") return drop("malformed"); // I9
  if (frame.ip.transport.kind === "fragment") return followFirst(context, frame) ?? drop("fragment"); // I5
  if (isIcmpError(frame)) return icmpErrorToGuest(context, frame, "host-local") ?? drop("no-flow"); // I6
  const key = hostReverseKey(frame);
  if (key === undefined) return drop("no-flow");
  const flow = findReverse(context, key);
  if (flow !== undefined && !replacesFlow(flow, frame)) return sendToGuest(context, flow, frame); // I2
  if (flow !== undefined) endFlow(context.state, flow, context.events);
  return openToGuest(context, frame, key);
}

/** The flow that a frame to a metadata address belongs to, or opens; undefined where it can do neither. */
function hostReverseKey({ ip }: Ipv4Frame): ReverseKey | undefined {
  const { source: backend, destination: nat, transport } = ip;
  const common = { kind: "host-local", backend, nat } as const;
  if (transport.kind === "tcp" || transport.kind === "udp") {
    const { sourcePort: backendPort, destinationPort: natPort } = transport;
    return { ...common, protocol: transport.kind, backendPort, natPort };
  }
  if (transport.kind === "icmp" && transport.message.kind === "echo") {
    const { type, identifier } = transport.message;
    if (type === ICMP_TYPE.echoRequest)
      return { ...common, protocol: "icmp", backendPort: identifier, natPort: 0 };
  }
  return undefined;
}
