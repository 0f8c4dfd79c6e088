import type { InterfaceRule } from "../config/schema.ts";

/** The fields of a rule that say how frames are treated, not who the guest is. */
type Treatment = "antiSpoof" | "unknownPort" | "arpReply";

/** Who is behind a vif: what the configuration or a registration says of the guest, and how the host knows it. */
export type GuestIdentity = Omit<InterfaceRule, "name" | "addresses" | Treatment> & {
  /** Name and ifindex of the vif. */
  interface: string;
  ifindex: number;
  metadataAddress: string;
  /** IPv4; empty where they are not known. */
  addresses: string[];
};

/** The identity of the guest behind a vif whose rule is this; `vif.interface` is its name, whatever pattern the rule has. */
export function guestIdentity(
  rule: InterfaceRule,
  vif: Pick<GuestIdentity, "interface" | "ifindex" | "metadataAddress">,
): GuestIdentity {
  const { name: _, antiSpoof, unknownPort, arpReply, addresses = [], ...identity } = rule;
  return { ...vif, ...identity, addresses };
}
