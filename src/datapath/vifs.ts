/** Vifs: what the agent writes of them (`struct vif` and the maps around it), and what the datapath has seen of them. */
import { ZERO_MAC } from "../packet/address.ts";
import type { openCounters } from "./counters.ts";
import {
  FRAGMENT_SLOTS_VIF,
  fragmentKeyLayout,
  ipAddressLayout,
  u32Layout,
  VIF_FLAGS,
  vifAddressLayout,
  vifLayout,
  vifStateLayout,
} from "./layout.ts";
import { deleteElement } from "./libbpf.ts";
import { openMap, plain, single } from "./maps.ts";
import type { StructValueOf } from "./struct.ts";
import type { Vif, VifEvidence } from "./types.ts";

/** A vif of which nothing has been seen yet. */
const NEW_STATE = vifStateLayout.read(new Uint8Array(vifStateLayout.size));

/** The vifs in the maps; `fd` gives the descriptor of a map by its name. */
export function openVifs(fd: (map: string) => number, counters: ReturnType<typeof openCounters>) {
  const ifindex = single(u32Layout, "value");
  const states = openMap(fd("vif_states"), ifindex, plain(vifStateLayout));
  const vifs = openMap(fd("vifs"), ifindex, plain(vifLayout));
  const addresses = openMap(fd("vif_addresses"), plain(vifAddressLayout), ifindex);
  const metadataAddresses = openMap(fd("metadata_addresses"), single(ipAddressLayout, "words"), ifindex);
  const fragments = fd("fragments");
  // What vif_addresses holds, by vif: the map itself can only be searched by whole keys.
  const addressesOf = new Map<number, string[]>();
  for (const [{ vif, address }] of addresses.entries())
    addressesOf.set(vif, [...(addressesOf.get(vif) ?? []), address]);

  return {
    all: () =>
      new Map(
        vifs.entries().map(([index, entry]) => [index, decodeVif(entry, addressesOf.get(index) ?? [])]),
      ),

    set(index: number, vif: Vif): void {
      // State and counters first: the datapath refuses flows of a vif that has none to count on.
      if (states.get(index) === undefined) states.set(index, NEW_STATE);
      counters.addVif(index);
      const stale = (addressesOf.get(index) ?? []).filter((address) => !vif.addresses.includes(address));
      for (const address of vif.addresses) addresses.set({ address, vif: index }, 1);
      addressesOf.set(index, vif.addresses);
      const before = vifs.get(index);
      metadataAddresses.set(vif.metadataAddress, index);
      // Last: an agent that was killed before finds the vif wanting and does it all again.
      vifs.set(index, encodeVif(vif));
      if (before !== undefined && before.metadataAddress !== vif.metadataAddress)
        metadataAddresses.delete(before.metadataAddress);
      for (const address of stale) addresses.delete({ address, vif: index });
    },

    /** `endFlows` ends those of the vif, once no new ones can come. */
    remove(index: number, endFlows: () => void): void {
      const before = vifs.get(index);
      if (before !== undefined && metadataAddresses.get(before.metadataAddress) === index)
        metadataAddresses.delete(before.metadataAddress);
      vifs.delete(index);
      for (const address of addressesOf.get(index) ?? []) addresses.delete({ address, vif: index });
      addressesOf.delete(index);
      for (let slot = 0; slot < FRAGMENT_SLOTS_VIF; slot++)
        deleteElement(fragments, fragmentKeyLayout.encode({ vif: index, slot, side: "vif" }));
      if (flowsOf(index) > 0) endFlows();
      states.delete(index);
      counters.removeVif(index);
    },

    flows: flowsOf,

    evidence(index: number): VifEvidence | undefined {
      const state = states.get(index);
      return state && evidenceOf(state, counters.lastOfVif(index));
    },
  };

  function flowsOf(index: number): number {
    return states.get(index)?.flows ?? 0;
  }
}

function evidenceOf(
  state: StructValueOf<typeof vifStateLayout>,
  counted: VifEvidence["counted"],
): VifEvidence {
  const { asked, askedAt, answered, answeredAt, sentTo, sentToMac, sentAt, spoofed, spoofedAt } = state;
  return {
    ...(askedAt !== 0n && { arpAsked: { address: asked, time: askedAt } }),
    ...(answeredAt !== 0n && { arpAnswered: { address: answered, time: answeredAt } }),
    ...(sentAt !== 0n && {
      sent: { guest: state.guest, guestMac: state.guestMac, service: sentTo, toMac: sentToMac, time: sentAt },
    }),
    ...(spoofedAt !== 0n && { spoofed: { address: spoofed, time: spoofedAt } }),
    counted,
  };
}

function encodeVif(vif: Vif): StructValueOf<typeof vifLayout> {
  const { antiSpoof, hasAddresses, rejectUnknownPort, arpBroadcast } = VIF_FLAGS;
  return {
    metadataAddress: vif.metadataAddress,
    gateway: vif.gateway ?? "",
    guest: vif.addresses[0] ?? "",
    guestMac: vif.mac ?? ZERO_MAC,
    flags:
      (vif.antiSpoof ? antiSpoof : 0) |
      (vif.addresses.length > 0 ? hasAddresses : 0) |
      (vif.unknownPort === "reject" ? rejectUnknownPort : 0) |
      (vif.arpReply === "broadcast" ? arpBroadcast : 0),
  };
}

/** `listed`: what `vif_addresses` has, in no order. */
function decodeVif(entry: StructValueOf<typeof vifLayout>, listed: string[]): Vif {
  const has = (flag: number) => (entry.flags & flag) !== 0;
  return {
    metadataAddress: entry.metadataAddress,
    addresses: [entry.guest, ...listed.filter((address) => address !== entry.guest)].filter(
      (text) => text !== "",
    ),
    mac: entry.guestMac === ZERO_MAC ? undefined : entry.guestMac,
    gateway: entry.gateway === "" ? undefined : entry.gateway,
    antiSpoof: has(VIF_FLAGS.antiSpoof),
    unknownPort: has(VIF_FLAGS.rejectUnknownPort) ? "reject" : "drop",
    arpReply: has(VIF_FLAGS.arpBroadcast) ? "broadcast" : "unicast",
  };
}
