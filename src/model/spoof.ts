/** Row I7: a guest may not use addresses of others. */
import { isInPrefix, LINK_LOCAL_PREFIX } from "../packet/address.ts";
import type { Ipv4Frame } from "./rewrite.ts";
import type { Vif } from "./state.ts";
import { type Context, type Counted, drop } from "./verdict.ts";

/** Drops a frame with a source that is not the guest's; undefined where there is nothing to say against it. */
export function dropSpoofed(context: Context, vif: Vif, { ethernet, ip }: Ipv4Frame): Counted | undefined {
  if (!vif.antiSpoof) return undefined;
  const { settings, serviceAddresses } = context.state;
  const spoofed =
    ethernet.source === settings.gatewayMac || serviceAddresses.has(ip.source) || !mayUse(vif, ip.source);
  if (!spoofed) return undefined;
  context.events.push({
    kind: "spoofed",
    vif: vif.ifindex,
    guest: ip.source,
    service: ip.destination,
    mac: ethernet.source,
  });
  return drop("spoofed", vif.ifindex);
}

/** Link-local addresses are always allowed: a guest without DHCP has no other one yet. */
function mayUse(vif: Vif, address: string): boolean {
  return (
    vif.addresses.length === 0 || vif.addresses.includes(address) || isInPrefix(address, LINK_LOCAL_PREFIX)
  );
}
