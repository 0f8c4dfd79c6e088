/** Row I2: TCP and UDP from the guest to a backend, and the way of any flow's frames in either direction. */
import {
  choosePort,
  dropOverLimit,
  endFlow,
  findFlow,
  followFlow,
  OTHER_PORTS,
  openFlow,
  opensFlow,
  replacesFlow,
} from "./flow.ts";
import { rememberFirst } from "./fragments.ts";
import { learnGuest, learnMacs } from "./learn.ts";
import { refuseUnknown, refuseWithoutBackend } from "./reject.ts";
import { DEFAULT_TTL, type Ipv4Frame, type PortTransport, rewriteFrame } from "./rewrite.ts";
import {
  type FlowKey,
  type ModelBackend,
  type ModelFlow,
  type ModelSettings,
  reverseKey,
  serviceKey,
  type Vif,
  type Way,
} from "./state.ts";
import { type Context, type Counted, drop, send } from "./verdict.ts";

/** TCP or UDP from the guest to a service address. */
export function natFromGuest(
  context: Context,
  vif: Vif,
  frame: Ipv4Frame,
  transport: PortTransport,
): Counted {
  const key: FlowKey = {
    vif: vif.ifindex,
    protocol: transport.kind,
    guest: frame.ip.source,
    guestPort: transport.sourcePort,
    service: frame.ip.destination,
    servicePort: transport.destinationPort,
  };
  const flow = findFlow(context, key);
  if (flow !== undefined && !replacesFlow(flow, frame)) {
    learnMacs(vif, flow, frame);
    return sendToBackend(context, flow, frame);
  }
  learnGuest(vif, frame);
  return openToBackend(context, vif, frame, key, flow);
}

/**
 * Opens a flow with the guest's frame and sends it on. `former`: the closing flow of the same ends. Where the new one has the same backend it takes
 * the former's place with its source port: the backend may hold the old connection in TIME-WAIT yet, and takes a new one of the ends that had it
 * (RFC 6191). Else the former ends.
 */
function openToBackend(
  context: Context,
  vif: Vif,
  frame: Ipv4Frame,
  key: FlowKey,
  former: ModelFlow | undefined,
): Counted {
  const { services, reverse } = context.state;
  const service = services.get(serviceKey(key.service, key.protocol, key.servicePort));
  if (service === undefined || service.draining) return refuseUnknown(context, vif, frame, "unknown-port"); // I4
  if (service.backends.length === 0) return refuseWithoutBackend(context, vif, frame, service); // I4
  if (frame.ip.transport.kind === "tcp" && !opensFlow(frame.ip.transport.flags))
    return refuseUnknown(context, vif, frame, "no-flow");
  if (former !== undefined) endFlow(context.state, former, context.events);

  const backend = chooseBackend(context, service.backends);
  const { kind, address, port: backendPort } = backend;
  const nat = kind === "fabric" ? backend.source : vif.metadataAddress;
  const ifindex = kind === "fabric" ? backend.ifindex : 0;
  const reverseWith = (natPort: number) => ({
    kind,
    protocol: key.protocol,
    backend: address,
    backendPort,
    nat,
    natPort,
  });
  const staysAt =
    former?.openedBy === "guest" &&
    former.ifindex === ifindex &&
    former.backend === address &&
    reverseKey(former) === reverseKey(reverseWith(former.natPort))
      ? former.natPort
      : undefined;
  if (staysAt === undefined) {
    const overLimit = dropOverLimit(context, vif, key); // I8
    if (overLimit !== undefined) return overLimit;
  }
  const taken = (port: number) => reverse.has(reverseKey(reverseWith(port)));
  const natPort =
    staysAt ?? choosePort(context, { ...portsFor(context.state.settings, kind, key.guestPort), taken });
  if (natPort === undefined) return drop("no-port", vif.ifindex);
  const flow = openFlow(context, vif, {
    ...key,
    ...reverseWith(natPort),
    openedBy: "guest",
    ifindex,
    serviceId: service.id,
    guestMac: frame.ethernet.source,
    serviceMac: frame.ethernet.destination,
    responseHopLimit: service.responseHopLimit,
  });
  return sendToBackend(context, flow, frame);
}

function chooseBackend(context: Context, backends: ModelBackend[]): ModelBackend {
  const slot = context.choices.backend(backends.length);
  const backend = backends[slot];
  if (backend === undefined) throw new RangeError(`backend ${slot} was chosen out of ${backends.length}`);
  return backend;
}

/** Towards the host the guest's own port stays where it can: an operator finds it in the server's log. */
function portsFor(
  { fabricPorts }: ModelSettings,
  kind: ModelBackend["kind"],
  guestPort: number,
): { own?: number; min: number; max: number } {
  return kind === "fabric" ? fabricPorts : { own: guestPort, ...OTHER_PORTS };
}

/** A frame of a flow, from the guest. */
export function sendToBackend(context: Context, flow: ModelFlow, frame: Ipv4Frame): Counted {
  followFlow(context, flow, frame, "guest");
  return sendAlong(context, wayToBackend(context.state.settings, flow), frame);
}

/** A frame of a flow, from the backend or the host. */
export function sendToGuest(context: Context, flow: ModelFlow, frame: Ipv4Frame): Counted {
  followFlow(context, flow, frame, "backend");
  return sendAlong(context, wayToGuest(flow), frame);
}

function sendAlong(context: Context, way: Way, frame: Ipv4Frame): Counted {
  rememberFirst(context, frame, way);
  return send(way.to, rewriteFrame(frame, way), way.reason, way.vif);
}

/** What a flow's frames from the guest become. On the fabric the kernel puts its own MACs in place of these. */
export function wayToBackend(settings: ModelSettings, flow: ModelFlow): Way {
  return {
    to: flow.kind === "fabric" ? { kind: "fabric", ifindex: flow.ifindex } : { kind: "host" },
    vif: flow.vif,
    reason: "forwarded",
    sourceMac: settings.gatewayMac,
    destinationMac: settings.hostMac,
    source: flow.nat,
    destination: flow.backend,
    ports: flow.protocol === "icmp" ? undefined : { source: flow.natPort, destination: flow.backendPort },
    ttl: DEFAULT_TTL,
  };
}

/** What a flow's frames to the guest become. */
export function wayToGuest(flow: ModelFlow): Way {
  return {
    to: { kind: "vif", ifindex: flow.vif },
    vif: flow.vif,
    reason: "returned",
    sourceMac: flow.serviceMac,
    destinationMac: flow.guestMac,
    source: flow.service,
    destination: flow.guest,
    ports: flow.protocol === "icmp" ? undefined : { source: flow.servicePort, destination: flow.guestPort },
    ttl: flow.responseHopLimit,
  };
}
