import { devicePeer } from "../config/names.ts";
import type { Link, Rtnetlink } from "../linux/rtnetlink.ts";
import { readSysctl, writeSysctl } from "../linux/sysctl.ts";
import { AgentError } from "./errors.ts";

/** Both ends of the pair through which guests and host-local backends meet. */
export interface HostDevice {
  /** The host's end, `onlink0`: packets to host-local backends come in here. */
  device: Link;
  /** The other end: what the host sends back is caught here. */
  peer: Link;
}

/** What the host device should be. */
export interface HostDeviceOptions {
  name: string;
  /** The host's own address in the pool of metadata addresses. */
  address: string;
  prefixLength: number;
}

/** The kernel's limits leave no more than this to what guests send; larger GSO frames pass whole all the same. */
const MTU = 1500;

/**
 * Finds our pair. Undefined when neither end is there; throws `AgentError` when one of the names belongs to something else.
 */
export function findHostDevice(network: Rtnetlink, name: string): HostDevice | undefined {
  const device = network.link(name);
  const peer = network.link(devicePeer(name));
  if (device === undefined && peer === undefined) return undefined;
  if (device !== undefined && peer !== undefined && isPair(device, peer)) return { device, peer };
  const there = (device ?? peer) as Link;
  throw new AgentError(
    `the interface ${there.name} is there already and is not onlink's (a veth pair ${name} and ${devicePeer(name)}); remove it, or set agent.device to another name`,
  );
}

/**
 * Makes the pair, or adopts it, and sets it up: the address, `route_localnet` so that 127.0.0.1 can be a backend, and no
 * IPv6, which would only speak to itself here. `route_localnet` is set on this device alone: elsewhere it would open the
 * host's loopback to its neighbours. A pair with another address (the pool has changed) is made anew.
 */
export function ensureHostDevice(network: Rtnetlink, options: HostDeviceOptions): HostDevice {
  const { name, address, prefixLength } = options;
  const found = findHostDevice(network, name);
  const stale = found !== undefined && !onlyHas(network, found.device.ifindex, options);
  if (stale) network.deleteLink(found.device.ifindex);
  if (found === undefined || stale) network.createVethPair({ name, peer: devicePeer(name), mtu: MTU });

  const pair = findHostDevice(network, name);
  if (pair === undefined) throw new AgentError(`the interface ${name} went away while it was being set up`);
  for (const end of [name, devicePeer(name)]) {
    const disableIpv6 = ["net", "ipv6", "conf", end, "disable_ipv6"];
    if (readSysctl(disableIpv6) !== undefined) writeSysctl(disableIpv6, "1");
  }
  writeSysctl(["net", "ipv4", "conf", name, "route_localnet"], "1");
  network.addAddress({ ifindex: pair.device.ifindex, address, prefixLength, scope: "link" });
  network.setLinkUp(pair.device.ifindex);
  network.setLinkUp(pair.peer.ifindex);
  return pair;
}

/** Deletes our pair; says whether there was one. What belongs to something else is left alone. */
export function deleteHostDevice(network: Rtnetlink, name: string): boolean {
  const device = network.link(name);
  const peer = network.link(devicePeer(name));
  if (device === undefined || peer === undefined || !isPair(device, peer)) return false;
  network.deleteLink(device.ifindex);
  return true;
}

function isPair(device: Link, peer: Link): boolean {
  return device.type === "veth" && device.peer === peer.ifindex && peer.peer === device.ifindex;
}

/** Whether the device has no other address than ours; none at all is a set-up that was cut short. */
function onlyHas(network: Rtnetlink, ifindex: number, { address, prefixLength }: HostDeviceOptions): boolean {
  return network
    .addresses(ifindex)
    .every((present) => present.address === address && present.prefixLength === prefixLength);
}
