/**
 * Links, addresses and routes of the network namespace in which the socket was opened, over rtnetlink(7).
 */

/** A network interface. */
export interface Link {
  ifindex: number;
  name: string;
  /** IFF_UP: administratively up; says nothing of carrier. */
  up: boolean;
  /** `"02:00:0a:00:01:03"`; undefined where the hardware address is not 6 bytes. */
  mac: string | undefined;
  mtu: number;
  /** IFLA_INFO_KIND: `"veth"`, `"bridge"`, `"tun"`, ...; undefined for physical devices and loopback. */
  type: string | undefined;
  /** ARPHRD_*: 1 is Ethernet. */
  hardware: number;
  /** ifindex of the bridge, bond or other device that this one is a port of. */
  master: number | undefined;
  /** IFLA_LINK: the other end of a veth, or the device below a VLAN; undefined when it lies in another namespace. */
  peer: number | undefined;
}

/** The kernel's way to a destination. */
export interface Route {
  type: "local" | "unicast" | "broadcast" | "other";
  /** The egress interface. */
  ifindex: number;
  /** The source address that the kernel would pick. */
  source: string | undefined;
  /** Undefined when the destination is on-link. */
  gateway: string | undefined;
}

/** An IPv4 address of an interface. */
export interface InterfaceAddress {
  ifindex: number;
  address: string;
  prefixLength: number;
  /** RT_SCOPE_*: 0 global, 253 link, 254 host. */
  scope: number;
}

/** Requests to rtnetlink, each answered before the call returns. Errors throw `SystemError`. */
export interface Rtnetlink {
  links(): Link[];
  link(nameOrIndex: string | number): Link | undefined;
  /** Makes a veth pair, both ends with IFF_NOARP and the given MTU, both down. */
  createVethPair(options: { name: string; peer: string; mtu: number }): void;
  /** One that is gone already is no error. */
  deleteLink(ifindex: number): void;
  setLinkUp(ifindex: number): void;
  /** The same address present already is no error. */
  addAddress(options: {
    ifindex: number;
    address: string;
    prefixLength: number;
    scope: "global" | "link" | "host";
  }): void;
  /** IPv4 addresses of one interface, or of all. */
  addresses(ifindex?: number): InterfaceAddress[];
  /** What the kernel's routing says for a destination, like `ip route get`; undefined when it is unreachable. */
  routeTo(address: string): Route | undefined;
  close(): void;
}

/** A change in the network; see `watchNetwork`. */
export type NetworkEvent =
  /** A link that is new or changed. */
  | { kind: "link"; link: Link }
  /** Deleted, or moved to another namespace. */
  | { kind: "link-gone"; ifindex: number; name: string }
  /** IPv4 routes, rules or addresses changed; once per batch. */
  | { kind: "routes-changed" }
  /** Messages were lost (ENOBUFS): whatever is known must be read anew. */
  | { kind: "overrun" };

/** Opens a socket for requests. */
export function openRtnetlink(): Rtnetlink {
  throw new Error("not there yet");
}

/** Subscribes to changes of links, IPv4 routes and IPv4 addresses. Events that arrive after this returns are all delivered. */
export function watchNetwork(
  _onEvents: (events: NetworkEvent[]) => void,
  _onError: (error: Error) => void,
): { close(): Promise<void> } {
  throw new Error("not there yet");
}
