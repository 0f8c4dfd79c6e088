import { devicePeer } from "../config/names.ts";
import type { Link, Rtnetlink } from "../linux/rtnetlink.ts";
import { readSysctl, writeSysctl } from "../linux/sysctl.ts";
import { AgentError } from "./errors.ts";

/** Both ends of the pair through which guests and host-local backends meet. */
export interface HostDevice {
  /** The host's end, `onlink0`: packets to host-local backends come in here. */
  device: Link;
  /** The other end: nothing comes here, since what the host sends is met before it leaves `device`. */
  peer: Link;
}

/** What the host device should be. */
export interface HostDeviceOptions {
  name: string;
  /** Of the agent that the pair belongs to: noted on the device, for other agents in this network namespace. */
  runtimeDir: string;
  /** The host's own address in the pool of metadata addresses. */
  address: string;
  prefixLength: number;
}

/** The kernel's limits leave no more than this to what guests send; larger GSO frames pass whole all the same. */
const MTU = 1500;

/** What is noted on the device (its alias) before the runtime directory of its agent. */
const OWNER_MARK = "onlink ";

/**
 * Finds our pair. Undefined when neither end is there; throws `AgentError` when one of the names belongs to something else, or to the
 * agent of another runtime directory. A pair on which nothing is noted is one whose set-up was cut short, so it is anybody's.
 */
export function findHostDevice(
  network: Pick<Rtnetlink, "link">,
  name: string,
  runtimeDir: string,
): HostDevice | undefined {
  const device = network.link(name);
  const peer = network.link(devicePeer(name));
  if (device === undefined && peer === undefined) return undefined;
  if (device !== undefined && peer !== undefined && isPair(device, peer)) {
    const owner = ownerOf(device);
    if (owner === undefined || owner === runtimeDir) return { device, peer };
    throw new AgentError(
      `the interface ${name} belongs to the onlink agent of ${owner}; give this one another agent.device and agent.metadataAddresses, or remove that one: onlink down --runtime-dir ${owner}`,
    );
  }
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
  const { name, runtimeDir, address, prefixLength } = options;
  const found = findHostDevice(network, name, runtimeDir);
  const stale = found !== undefined && !onlyHas(network, found.device.ifindex, options);
  if (stale) network.deleteLink(found.device.ifindex);
  if (found === undefined || stale) network.createVethPair({ name, peer: devicePeer(name), mtu: MTU });

  const pair = findHostDevice(network, name, runtimeDir);
  if (pair === undefined) throw new AgentError(`the interface ${name} went away while it was being set up`);
  network.setLinkAlias(pair.device.ifindex, `${OWNER_MARK}${runtimeDir}`);
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

/** Deletes our pair; says whether there was one. What belongs to something else, or to another agent, is left alone. */
export function deleteHostDevice(network: Rtnetlink, name: string, runtimeDir: string): boolean {
  const device = network.link(name);
  const peer = network.link(devicePeer(name));
  if (device === undefined || peer === undefined || !isPair(device, peer)) return false;
  if (![undefined, runtimeDir].includes(ownerOf(device))) return false;
  network.deleteLink(device.ifindex);
  return true;
}

/** The names of the devices that are noted to be those of this runtime directory. */
export function devicesOf(network: Rtnetlink, runtimeDir: string): string[] {
  return network
    .links()
    .filter((link) => ownerOf(link) === runtimeDir)
    .map(({ name }) => name);
}

/** The runtime directory that is noted on a device. */
function ownerOf({ alias }: Link): string | undefined {
  return alias?.startsWith(OWNER_MARK) ? alias.slice(OWNER_MARK.length) : undefined;
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
