import type { BackendEntry } from "../datapath/types.ts";
import type { Rtnetlink } from "../linux/rtnetlink.ts";

/** ARPHRD_ETHER (include/uapi/linux/if_arp.h): the only link type whose frames the datapath reads. */
export const ARPHRD_ETHER = 1;

/** Where a backend is, or why guests cannot be sent to it. */
export type ResolvedBackend =
  | { inUse: true; entry: BackendEntry /** Fabric: the interface that leads to it. */; interface?: string }
  | { inUse: false; reason: string };

/** What resolving needs beside the backend. */
export interface ResolveOptions {
  /** ifindexes of onlink's own device and its peer: no backend lies behind them. */
  own: ReadonlySet<number>;
  /** `fabric.sourceAddress`; undefined lets the kernel pick. */
  sourceAddress: string | undefined;
}

/** Finds the way to a backend as the kernel's routing has it now. Errors of netlink itself throw. */
export function resolveBackend(
  backend: { address: string; port: number },
  network: Pick<Rtnetlink, "routeTo" | "link">,
  { own, sourceAddress }: ResolveOptions,
): ResolvedBackend {
  const { address, port } = backend;
  const route = network.routeTo(address);
  if (route === undefined) return { inUse: false, reason: "no route to it" };
  if (route.type === "local") return { inUse: true, entry: { kind: "host-local", address, port } };
  if (route.type !== "unicast") return { inUse: false, reason: `its route is of type ${route.type}` };

  const link = network.link(route.ifindex);
  if (link === undefined) return { inUse: false, reason: "its route leads to an interface that is gone" };
  if (own.has(link.ifindex)) {
    return { inUse: false, reason: `its route leads through onlink's own device ${link.name}` };
  }
  if (link.hardware !== ARPHRD_ETHER) {
    return { inUse: false, reason: `its route leads through ${link.name}, which is not Ethernet` };
  }
  if (sourceAddress !== undefined && network.routeTo(sourceAddress)?.type !== "local") {
    return { inUse: false, reason: `fabric.sourceAddress ${sourceAddress} is not an address of this host` };
  }
  const source = sourceAddress ?? route.source;
  if (source === undefined)
    return { inUse: false, reason: `this host has no address towards it (${link.name})` };
  return {
    inUse: true,
    entry: { kind: "fabric", address, port, source, ifindex: link.ifindex },
    interface: link.name,
  };
}
