/** What is learned of a guest from its frames to services, other than in open flows. */
import type { Ipv4Frame } from "./rewrite.ts";
import type { ModelFlow, Vif } from "./state.ts";

/** From a frame that nothing is wrong with: so that the host can reach a guest whose address nobody configured. */
export function learnGuest(vif: Vif, { ethernet, ip }: Ipv4Frame): void {
  vif.learned = { address: ip.source, mac: ethernet.source };
}

/** From a frame in an open flow: the MACs may change, with the guest's routes or those whom it routes to. */
export function learnMacs(vif: Vif, flow: ModelFlow, frame: Ipv4Frame): void {
  const { source, destination } = frame.ethernet;
  if (flow.guestMac === source && flow.serviceMac === destination) return;
  flow.guestMac = source;
  flow.serviceMac = destination;
  learnGuest(vif, frame);
}
