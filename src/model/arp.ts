/** Rows A1-A5: ARP from the guest (RFC 826, RFC 5227). */
import { BROADCAST_MAC, UNSPECIFIED_ADDRESS, ZERO_MAC } from "../packet/address.ts";
import { ARP_OPERATION, type ArpPacket, encodeArp } from "../packet/arp.ts";
import { ETHERNET_HEADER_LENGTH } from "../packet/ethernet.ts";
import type { Network } from "../packet/frame.ts";
import { setMacs } from "./rewrite.ts";
import { NS_PER_S, type Vif } from "./state.ts";
import { type Context, type Counted, drop, send, untouched } from "./verdict.ts";

/** A service address is defended at most this often on each vif, in ns (DEFEND_INTERVAL, RFC 5227 s. 1.1). */
export const DEFEND_INTERVAL = 10n * NS_PER_S;

/** ARP from the guest. `network` is malformed where the packet is cut short or not for IPv4 over Ethernet. */
export function arpFromGuest(context: Context, vif: Vif, bytes: Uint8Array, network: Network): Counted {
  if (network.kind !== "arp") return untouched("arp-other", vif.ifindex); // A5
  const { serviceAddresses } = context.state;
  if (serviceAddresses.has(network.senderAddress)) return defend(context, vif, bytes, network);
  if (network.operation === ARP_OPERATION.request && serviceAddresses.has(network.targetAddress)) {
    const probe = network.senderAddress === UNSPECIFIED_ADDRESS;
    const destination = vif.arpReply === "broadcast" ? BROADCAST_MAC : network.senderMac;
    const frame = reply(context, bytes, network, destination);
    return send(vifOf(vif), frame, probe ? "arp-probe-reply" : "arp-reply", vif.ifindex); // A2, A1
  }
  if (network.operation === ARP_OPERATION.request && network.targetAddress === vif.gateway) {
    const frame = reply(context, bytes, network, network.senderMac);
    return send(vifOf(vif), frame, "arp-gateway", vif.ifindex); // A4
  }
  return untouched("arp-other", vif.ifindex); // A5
}

/** Row A3: the guest speaks for a service address. Everybody behind the vif hears who really has it. */
function defend(context: Context, vif: Vif, bytes: Uint8Array, claim: ArpPacket): Counted {
  const { events, now, state } = context;
  const address = claim.senderAddress;
  events.push({ kind: "conflict", vif: vif.ifindex, service: address, mac: claim.senderMac });
  const last = vif.defences.get(address);
  if (last !== undefined && now - last < DEFEND_INTERVAL) return drop("arp-conflict", vif.ifindex);
  vif.defences.set(address, now);
  const { gatewayMac } = state.settings;
  const announcement = {
    operation: ARP_OPERATION.request,
    senderMac: gatewayMac,
    senderAddress: address,
    targetMac: ZERO_MAC,
    targetAddress: address,
  };
  const frame = arpFrame(bytes, gatewayMac, BROADCAST_MAC, announcement);
  return send(vifOf(vif), frame, "arp-conflict", vif.ifindex);
}

/** What was asked for, at the gateway MAC. */
function reply(context: Context, bytes: Uint8Array, request: ArpPacket, destinationMac: string): Uint8Array {
  const { gatewayMac } = context.state.settings;
  return arpFrame(bytes, gatewayMac, destinationMac, {
    operation: ARP_OPERATION.reply,
    senderMac: gatewayMac,
    senderAddress: request.targetAddress,
    targetMac: request.senderMac,
    targetAddress: request.senderAddress,
  });
}

/** The frame with another ARP packet in it; padding stays. */
function arpFrame(bytes: Uint8Array, source: string, destination: string, packet: ArpPacket): Uint8Array {
  const frame = new Uint8Array(bytes);
  setMacs(frame, source, destination);
  frame.set(encodeArp(packet), ETHERNET_HEADER_LENGTH);
  return frame;
}

function vifOf(vif: Vif): { kind: "vif"; ifindex: number } {
  return { kind: "vif", ifindex: vif.ifindex };
}
