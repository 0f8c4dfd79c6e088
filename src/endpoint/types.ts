/**
 * A guest's own view of the network, as its tables tell it. Addresses, prefixes and MACs are text in the canonical form of
 * `src/packet/address.ts` (`"10.0.1.3"`, `"169.254.0.0/16"`, `"00:00:5e:00:01:00"`), whatever form the guest printed.
 */

/** Network stacks that decide in different ways. */
export type System = "windows" | "linux" | "macos" | "bsd";

/** Where a thing is attached. Systems name it differently: Linux by name, `route print` by address, Get-NetRoute by index. */
export interface InterfaceRef {
  /** Name: `eth0`, `en0`, or Windows' alias such as `Ethernet 2`. */
  interface?: string;
  /** Windows' interface index. */
  interfaceIndex?: number;
  /** An address of the interface, where `route print` and `arp -a` of Windows name it so. */
  interfaceAddress?: string;
}

/** One row of a routing table, or one next hop of a multipath route. */
export interface Route extends InterfaceRef {
  /** Where it leads: `0.0.0.0/0` is the default route. */
  destination: string;
  /** The next hop; absent when destinations are on-link, that is asked for by ARP themselves. */
  gateway?: string;
  /** Lower is preferred. Windows' `route print`: route and interface metric together; Get-NetRoute: the route's alone. */
  metric?: number;
  /** Windows: the interface's part of the metric, where it is shown apart. */
  interfaceMetric?: number;
  /** The source address that the route asks for (Linux: `src`). */
  source?: string;
  /** Linux: the routing table, where it is not `main`. */
  table?: string;
  /** A route that sends nothing: an error to the sender (`unreachable`) or silence (`blackhole`). */
  refuses?: "unreachable" | "blackhole";
  /** The destination is an address of the guest itself, or a broadcast address of its own. */
  local?: true;
  /**
   * Windows: saved for the next start (`route add -p`), listed under Persistent Routes. It sends packets only when it is
   * among the active routes too.
   */
  persistent?: true;
  /** Linux: the kernel does not use it (`dead`: the device or the next hop is down). */
  dead?: true;
  /** The line of the text that it stands on, from 1. */
  line: number;
}

/**
 * How sure a guest is of a neighbour (RFC 4861 s. 7.3.2 has the words; Linux and Windows use them for IPv4 too). `incomplete`:
 * asked, no answer yet; `failed`: asked, nobody answered (Windows: Unreachable); `noarp`: needs no asking.
 */
export type NeighbourState =
  | "reachable"
  | "stale"
  | "delay"
  | "probe"
  | "incomplete"
  | "failed"
  | "permanent"
  | "noarp";

/** One row of a neighbour (ARP) table. */
export interface Neighbour extends InterfaceRef {
  address: string;
  /** Absent where it is not known: nobody answered, or not yet. */
  mac?: string;
  /** Absent where the output does not tell (`arp -a`), or tells it in a language that is not known here. */
  state?: NeighbourState;
  line: number;
}

/** An address of the guest's own. */
export interface InterfaceAddress extends InterfaceRef {
  address: string;
  /** 0-32; absent where the output does not tell. */
  prefixLength?: number;
  /** The interface's own MAC. */
  mac?: string;
  /** Default gateways, where the output lists them with the address (ipconfig). */
  gateways?: string[];
  line: number;
}

/** Outputs that are understood, by the command that prints them. */
export type Format =
  | "windows-route-print"
  | "get-net-route"
  | "windows-arp-a"
  | "netsh-neighbors"
  | "get-net-neighbor"
  | "ipconfig"
  | "ip-route"
  | "ip-neigh"
  | "ip-addr"
  | "route-n"
  | "arp-n"
  | "netstat-rn"
  | "bsd-arp-a";

/** A line, from 1, of which nothing could be made. */
export interface NotUnderstood {
  line: number;
  text: string;
}

/** All that a paste tells. */
export interface Tables {
  /** What kind of guest printed it; absent when no output was recognised, or the outputs are of two systems. */
  system?: System;
  /** The outputs found, in their order, each with the line that it begins on. */
  outputs: Array<{ format: Format; line: number }>;
  routes: Route[];
  neighbours: Neighbour[];
  addresses: InterfaceAddress[];
  notUnderstood: NotUnderstood[];
}
