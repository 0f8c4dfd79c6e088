/** A packet from the host to a metadata address opens a flow to that guest, which sees it come from a service address. */
import { choosePort, dropOverLimit, OTHER_PORTS, openFlow, opensFlow } from "./flow.ts";
import { sendToGuest } from "./nat.ts";
import { DEFAULT_TTL, type Ipv4Frame } from "./rewrite.ts";
import { type FlowKey, flowKey, type ReverseKey, type Vif } from "./state.ts";
import { type Context, type Counted, drop } from "./verdict.ts";

/** Opens a flow with the host's frame and sends it on. `reverse`: the frame's own, which no flow has. */
export function openToGuest(context: Context, frame: Ipv4Frame, reverse: ReverseKey): Counted {
  const { settings, flows, vifs } = context.state;
  const vif = [...vifs.values()].find(({ metadataAddress }) => metadataAddress === reverse.nat);
  const { transport } = frame.ip;
  if (vif === undefined || (transport.kind === "tcp" && !opensFlow(transport.flags))) return drop("no-flow");
  const service = settings.hostServiceAddress;
  const guest = guestOf(vif);
  if (service === undefined || guest === undefined) return drop("no-flow", vif.ifindex);
  const keyWith = (servicePort: number): FlowKey => ({
    vif: vif.ifindex,
    protocol: reverse.protocol,
    guest: guest.address,
    guestPort: reverse.natPort,
    service,
    servicePort,
  });
  const overLimit = dropOverLimit(context, vif, keyWith(reverse.backendPort)); // I8
  if (overLimit !== undefined) return overLimit;

  const taken = (port: number) => flows.has(flowKey(keyWith(port)));
  // An echo's identifier stays: it is not a port that could be changed.
  const servicePort =
    reverse.protocol === "icmp"
      ? reverse.backendPort
      : choosePort(context, { own: reverse.backendPort, ...OTHER_PORTS, taken });
  if (servicePort === undefined) return drop("no-port", vif.ifindex);
  const flow = openFlow(context, vif, {
    ...keyWith(servicePort),
    ...reverse,
    openedBy: "host",
    ifindex: 0,
    serviceId: 0,
    guestMac: guest.mac,
    serviceMac: settings.gatewayMac,
    responseHopLimit: DEFAULT_TTL,
  });
  return sendToGuest(context, flow, frame);
}

/** Where the guest is: as configured, else as learned; undefined while either address is not known. */
function guestOf({ addresses, mac, learned }: Vif): { address: string; mac: string } | undefined {
  const address = addresses[0] ?? learned?.address;
  const guestMac = mac ?? learned?.mac;
  return address === undefined || guestMac === undefined ? undefined : { address, mac: guestMac };
}
