/**
 * What a lab is made of, as data, and the iproute2 commands that make it. Pure: lab.ts runs them.
 *
 * A command is one line of `ip -batch`, without the leading `ip`.
 */

import { GATEWAY_MAC } from "../packet/address.ts";

/**
 * How a guest hangs on the host: a veth pair, a veth pair whose host end is a port of a bridge, or a tap as VMs have
 * it.
 */
export type GuestLink = "veth" | "bridge" | "tap";

/** What a guest does with link-local addresses: use its default gateway (Linux) or ask for them by ARP (Windows). */
export type GuestBehaviour = "routed" | "on-link";

/** A guest as asked for. */
export interface GuestSpec {
  /** Names the guest's network namespace, and its vif: `vif-NAME`. At most 11 characters. */
  name: string;
  link: GuestLink;
  behaviour: GuestBehaviour;
  /** Address with prefix length, `10.0.1.3/24`. Several guests may have the same one, as tenants do. */
  address: string;
  /** The guest's default gateway, without prefix length. */
  gateway: string;
  /**
   * True (the default): the host holds the gateway address on the vif (a guest on a bridge: on the bridge), and
   * answers ARP for it. False: nobody holds it and the guest has a permanent neighbour entry for it at the gateway
   * MAC, as under a vRouter. Guests that share a gateway address without sharing a bridge need false.
   */
  gatewayOnHost?: boolean;
  /** Defaults to `02:00` and the four bytes of the address, so guests with the same address have the same MAC too. */
  mac?: string;
  /** For link `bridge`: the bridge, made by `addBridge` before. */
  bridge?: string;
}

/** A guest's interface as the host sees it, every default filled in. */
export interface GuestPlan extends Required<Omit<GuestSpec, "bridge">> {
  bridge: string | undefined;
  vif: string;
}

/** The host's network behind an interface: a namespace of its own, joined to the host by a veth pair. */
export interface FabricSpec {
  /** Names the namespace and the host's interface that leads to it. */
  name: string;
  /** The host's address with prefix length. */
  hostAddress: string;
  /** The other end's address with prefix length. It has no route to guests: only NAT brings answers back. */
  address: string;
}

/** A Linux bridge that holds the gateway address of its guests, as docker0 does. */
export interface BridgeSpec {
  name: string;
  /** Gateway address with prefix length. */
  address: string;
}

/** Longest interface name: IFNAMSIZ less the final zero. */
const MAX_INTERFACE_NAME = 15;

function checkInterfaceName(name: string): string {
  if (!/^[\w.-]+$/.test(name))
    throw new Error(`"${name}" is no name for an interface: use letters, digits, ".", "_" and "-"`);
  if (name.length > MAX_INTERFACE_NAME)
    throw new Error(
      `interface name "${name}" has ${name.length} characters, the kernel takes ${MAX_INTERFACE_NAME}`,
    );
  return name;
}

function bareAddress(address: string): string {
  return address.split("/")[0]!;
}

function prefixLength(address: string): string {
  const length = address.split("/")[1];
  if (length === undefined)
    throw new Error(`address "${address}" lacks its prefix length, such as ${address}/24`);
  return length;
}

/** The locally administered MAC of a guest that is given none: `02:00` and the four bytes of its address. */
export function macOf(address: string): string {
  const bytes = bareAddress(address).split(".").map(Number);
  if (bytes.length !== 4 || !bytes.every((byte) => Number.isInteger(byte) && byte >= 0 && byte <= 255))
    throw new Error(
      `"${address}" is no IPv4 address: give the guest a mac, or an address such as 10.0.1.3/24`,
    );
  return ["02", "00", ...bytes.map((byte) => byte.toString(16).padStart(2, "0"))].join(":");
}

/** Fills in the defaults. Throws when names or addresses cannot be. */
export function planGuest(spec: GuestSpec): GuestPlan {
  prefixLength(spec.address);
  if ((spec.link === "bridge") !== (spec.bridge !== undefined))
    throw new Error(`guest "${spec.name}": "bridge" goes with link "bridge", and with no other`);
  return {
    ...spec,
    bridge: spec.bridge,
    gatewayOnHost: spec.gatewayOnHost ?? true,
    mac: spec.mac ?? macOf(spec.address),
    vif: checkInterfaceName(`vif-${spec.name}`),
  };
}

/**
 * Commands in the host's namespace that make a guest's namespace and its vif. The eth0 of a tap guest is the pump's
 * to make.
 */
export function hostCommands(guest: GuestPlan): string[] {
  const { name, vif } = guest;
  const commands = [
    `netns add ${name}`,
    guest.link === "tap"
      ? `tuntap add dev ${vif} mode tap`
      : `link add ${vif} type veth peer name eth0 netns ${name} address ${guest.mac}`,
  ];
  if (guest.bridge !== undefined) commands.push(`link set ${vif} master ${guest.bridge}`);
  commands.push(`link set ${vif} up`);
  if (guest.gatewayOnHost && guest.bridge === undefined)
    commands.push(`addr add ${guest.gateway}/${prefixLength(guest.address)} dev ${vif}`);
  return commands;
}

/** Commands in the guest's namespace, once its eth0 is there. */
export function guestCommands(guest: GuestPlan): string[] {
  const commands = ["link set lo up"];
  if (guest.link === "tap") commands.push(`link set eth0 address ${guest.mac}`);
  commands.push(
    "link set eth0 up",
    `addr add ${guest.address} dev eth0`,
    `route add default via ${guest.gateway}`,
  );
  if (guest.behaviour === "on-link") commands.push("route add 169.254.0.0/16 dev eth0 scope link");
  if (!guest.gatewayOnHost)
    commands.push(`neigh replace ${guest.gateway} lladdr ${GATEWAY_MAC} dev eth0 nud permanent`);
  return commands;
}

/** Commands in the host's namespace that make a bridge. */
export function bridgeCommands(spec: BridgeSpec): string[] {
  prefixLength(spec.address);
  return [
    `link add ${checkInterfaceName(spec.name)} type bridge`,
    `addr add ${spec.address} dev ${spec.name}`,
    `link set ${spec.name} up`,
  ];
}

/** Commands that make a fabric, in the host's namespace and in the fabric's own. */
export function fabricCommands(spec: FabricSpec): { host: string[]; fabric: string[] } {
  prefixLength(spec.address);
  prefixLength(spec.hostAddress);
  return {
    host: [
      `netns add ${spec.name}`,
      `link add ${checkInterfaceName(spec.name)} type veth peer name eth0 netns ${spec.name}`,
      `link set ${spec.name} up`,
      `addr add ${spec.hostAddress} dev ${spec.name}`,
    ],
    fabric: ["link set lo up", "link set eth0 up", `addr add ${spec.address} dev eth0`],
  };
}
