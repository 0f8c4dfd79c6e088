/**
 * The contents of rtnetlink messages (rtnetlink(7); include/uapi/linux/rtnetlink.h, if_link.h, if_addr.h): links, IPv4
 * addresses and IPv4 routes to objects, requests to bytes. Pure. Addresses are in network byte order, all else in the
 * machine's.
 */
import { ipv4FromBytes, ipv4ToBytes, macFromBytes } from "../packet/address.ts";
import {
  attribute,
  attributeText,
  attributeU32,
  decodeAttributes,
  type Message,
  nested,
  readU16,
  readU32,
  text,
  writeU32,
} from "./netlink.ts";

/** Message types. */
export const RTM = {
  NEWLINK: 16,
  DELLINK: 17,
  GETLINK: 18,
  NEWADDR: 20,
  DELADDR: 21,
  GETADDR: 22,
  NEWROUTE: 24,
  DELROUTE: 25,
  GETROUTE: 26,
  NEWRULE: 32,
  DELRULE: 33,
  GETTFILTER: 46,
} as const;

const AF_UNSPEC = 0;
const AF_INET = 2;

const IFLA = {
  ADDRESS: 1,
  IFNAME: 3,
  MTU: 4,
  LINK: 5,
  MASTER: 10,
  LINKINFO: 18,
  IFALIAS: 20,
  EXT_MASK: 29,
  LINK_NETNSID: 37,
} as const;
const IFLA_INFO_KIND = 1;
const IFLA_INFO_DATA = 2;
const VETH_INFO_PEER = 1;
const RTEXT_FILTER_SKIP_STATS = 8;
const IFF_UP = 0x1;
const IFF_NOARP = 0x80;

const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const SCOPES = { global: 0, link: 253, host: 254 } as const;

const RTA = { DST: 1, OIF: 4, GATEWAY: 5, PREFSRC: 7 } as const;
const ROUTE_TYPES = new Map<number, Route["type"]>([
  [1, "unicast"],
  [2, "local"],
  [3, "broadcast"],
]);

/** struct ifinfomsg, struct ifaddrmsg, struct rtmsg. */
const LINK_HEADER = 16;
const ADDRESS_HEADER = 8;
const ROUTE_HEADER = 12;

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
  /** IFLA_IFALIAS: what somebody has noted on the interface. */
  alias: string | undefined;
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
  /** Undefined when the destination is on-link, and when the gateway is an IPv6 one (RFC 5549). */
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

/** What a notification says; see `watchNetwork`. */
export type NetworkChange =
  /** A link that is new or changed. */
  | { kind: "link"; link: Link }
  /** Deleted, or moved to another namespace. */
  | { kind: "link-gone"; ifindex: number; name: string }
  /** IPv4 routes, rules or addresses changed. */
  | { kind: "routes-changed" };

/** Body of a RTM_GETLINK for all links, or for one by name or ifindex. */
export function encodeLinkQuery(which: "all" | { name: string } | { ifindex: number }): Buffer {
  const filter = attributeU32(IFLA.EXT_MASK, RTEXT_FILTER_SKIP_STATS);
  if (which === "all") {
    return Buffer.concat([linkHeader({}), filter]);
  }
  return "name" in which
    ? Buffer.concat([linkHeader({}), filter, attributeText(IFLA.IFNAME, which.name)])
    : Buffer.concat([linkHeader({ ifindex: which.ifindex }), filter]);
}

/** Body of a RTM_DELLINK. */
export function encodeLinkDeletion(ifindex: number): Buffer {
  return linkHeader({ ifindex });
}

/** Body of a RTM_NEWLINK that sets IFF_UP and leaves the other flags as they are. */
export function encodeLinkUp(ifindex: number): Buffer {
  return linkHeader({ ifindex, set: IFF_UP });
}

/** Body of a RTM_NEWLINK that sets IFLA_IFALIAS; the kernel takes it of an interface that is there alone, and up to 255 bytes. */
export function encodeLinkAlias(ifindex: number, alias: string): Buffer {
  return Buffer.concat([linkHeader({ ifindex }), attribute(IFLA.IFALIAS, Buffer.from(alias))]);
}

/** One end of a veth pair to be made. */
export interface VethEnd {
  name: string;
  /** 6 bytes. */
  mac: Uint8Array;
  mtu: number;
}

/** Body of a RTM_NEWLINK that makes a veth pair, both ends with IFF_NOARP and down. */
export function encodeVethPair(end: VethEnd, peer: VethEnd): Buffer {
  return Buffer.concat([
    encodeEnd(end),
    nested(
      IFLA.LINKINFO,
      attributeText(IFLA_INFO_KIND, "veth"),
      nested(IFLA_INFO_DATA, nested(VETH_INFO_PEER, encodeEnd(peer))),
    ),
  ]);
}

function encodeEnd(end: VethEnd): Buffer {
  return Buffer.concat([
    linkHeader({ set: IFF_NOARP }),
    attributeText(IFLA.IFNAME, end.name),
    attributeU32(IFLA.MTU, end.mtu),
    attribute(IFLA.ADDRESS, end.mac),
  ]);
}

/** `set`: flags that the request turns on. */
function linkHeader({ ifindex = 0, set = 0 }): Buffer {
  const bytes = Buffer.alloc(LINK_HEADER);
  bytes[0] = AF_UNSPEC;
  writeU32(bytes, ifindex, 4);
  writeU32(bytes, set, 8);
  writeU32(bytes, set, 12);
  return bytes;
}

/** The attributes that `decodeLink` reads, of the sixty that an interface has. */
const LINK_ATTRIBUTES: ReadonlySet<number> = new Set([
  ...[IFLA.IFNAME, IFLA.ADDRESS, IFLA.LINKINFO, IFLA.IFALIAS],
  ...[IFLA.LINK, IFLA.MTU, IFLA.MASTER, IFLA.LINK_NETNSID],
]);

/**
 * The link of a RTM_NEWLINK or RTM_DELLINK. Undefined for messages of another family than AF_UNSPEC: those of AF_BRIDGE
 * tell of a bridge's port, and a RTM_DELLINK among them means that the link has left the bridge, not that it is gone.
 */
export function decodeLink(payload: Buffer): Link | undefined {
  if (body(payload, LINK_HEADER, "link")[0] !== AF_UNSPEC) {
    return undefined;
  }
  const ifindex = readU32(payload, 4);
  const attributes = decodeAttributes(payload.subarray(LINK_HEADER), LINK_ATTRIBUTES);
  const name = attributes.get(IFLA.IFNAME);
  const hardwareAddress = attributes.get(IFLA.ADDRESS);
  const info = attributes.get(IFLA.LINKINFO);
  const alias = attributes.get(IFLA.IFALIAS);
  const kind = info && decodeAttributes(info).get(IFLA_INFO_KIND);
  const below = number(attributes.get(IFLA.LINK));
  return {
    ifindex,
    name: name ? text(name) : "",
    up: (readU32(payload, 8) & IFF_UP) !== 0,
    mac: hardwareAddress?.length === 6 ? macFromBytes(hardwareAddress) : undefined,
    mtu: number(attributes.get(IFLA.MTU)) ?? 0,
    type: kind && text(kind),
    hardware: readU16(payload, 2),
    master: number(attributes.get(IFLA.MASTER)),
    alias: alias && text(alias),
    peer: below === 0 || below === ifindex || attributes.has(IFLA.LINK_NETNSID) ? undefined : below,
  };
}

/** Body of a RTM_GETADDR for all IPv4 addresses. */
export function encodeAddressQuery(): Buffer {
  const bytes = Buffer.alloc(ADDRESS_HEADER);
  bytes[0] = AF_INET;
  return bytes;
}

/** Body of a RTM_NEWADDR. */
export function encodeAddress(options: {
  ifindex: number;
  address: string;
  prefixLength: number;
  scope: keyof typeof SCOPES;
}): Buffer {
  const header = Buffer.alloc(ADDRESS_HEADER);
  header[0] = AF_INET;
  header[1] = options.prefixLength;
  header[3] = SCOPES[options.scope];
  writeU32(header, options.ifindex, 4);
  const address = ipv4ToBytes(options.address);
  return Buffer.concat([header, attribute(IFA_LOCAL, address), attribute(IFA_ADDRESS, address)]);
}

/** The address of a RTM_NEWADDR; undefined when it is not an IPv4 one. */
export function decodeAddress(payload: Buffer): InterfaceAddress | undefined {
  if (body(payload, ADDRESS_HEADER, "address")[0] !== AF_INET) {
    return undefined;
  }
  const attributes = decodeAttributes(payload.subarray(ADDRESS_HEADER));
  // On a point-to-point link IFA_ADDRESS is the other end; IFA_LOCAL is always the interface's own.
  const address = ipv4Text(attributes.get(IFA_LOCAL) ?? attributes.get(IFA_ADDRESS));
  if (address === undefined) {
    return undefined;
  }
  return {
    ifindex: readU32(payload, 4),
    address,
    prefixLength: payload.readUInt8(1),
    scope: payload.readUInt8(3),
  };
}

/** Body of a RTM_GETROUTE for one IPv4 destination. */
export function encodeRouteQuery(destination: string): Buffer {
  const header = Buffer.alloc(ROUTE_HEADER);
  header[0] = AF_INET;
  header[1] = 32;
  return Buffer.concat([header, attribute(RTA.DST, ipv4ToBytes(destination))]);
}

/** The route of a RTM_NEWROUTE that answers a query. */
export function decodeRoute(payload: Buffer): Route {
  const type = body(payload, ROUTE_HEADER, "route").readUInt8(7);
  const attributes = decodeAttributes(payload.subarray(ROUTE_HEADER));
  return {
    type: ROUTE_TYPES.get(type) ?? "other",
    ifindex: number(attributes.get(RTA.OIF)) ?? 0,
    source: ipv4Text(attributes.get(RTA.PREFSRC)),
    gateway: ipv4Text(attributes.get(RTA.GATEWAY)),
  };
}

/** What a notification says; undefined when it says nothing that onlink acts on. */
export function decodeChange(message: Message): NetworkChange | undefined {
  switch (message.type) {
    case RTM.NEWLINK: {
      const link = decodeLink(message.payload);
      return link && { kind: "link", link };
    }
    case RTM.DELLINK: {
      const link = decodeLink(message.payload);
      return link && { kind: "link-gone", ifindex: link.ifindex, name: link.name };
    }
    case RTM.NEWADDR:
    case RTM.DELADDR:
    case RTM.NEWROUTE:
    case RTM.DELROUTE:
    case RTM.NEWRULE:
    case RTM.DELRULE:
      return { kind: "routes-changed" };
    default:
      return undefined;
  }
}

/** Checks that the fixed part of a message is there. */
function body(payload: Buffer, length: number, what: string): Buffer {
  if (payload.length < length) {
    throw new Error(
      `rtnetlink ${what} message: ${payload.length} bytes, less than the ${length} of its header`,
    );
  }
  return payload;
}

function number(value: Buffer | undefined): number | undefined {
  return value && readU32(value);
}

function ipv4Text(bytes: Buffer | undefined): string | undefined {
  return bytes?.length === 4 ? ipv4FromBytes(bytes) : undefined;
}

/** Sides of a clsact qdisc: TC_H_CLSACT with TC_H_MIN_INGRESS or TC_H_MIN_EGRESS (linux/pkt_sched.h). */
const CLSACT_SIDES = { ingress: 0xfffffff2, egress: 0xfffffff3 } as const;

/** Body of a RTM_GETTFILTER (struct tcmsg) for the filters on one side of an interface's clsact qdisc. */
export function encodeFilterQuery(ifindex: number, side: keyof typeof CLSACT_SIDES): Buffer {
  const header = Buffer.alloc(20);
  writeU32(header, ifindex, 4);
  writeU32(header, CLSACT_SIDES[side], 12);
  return header;
}
