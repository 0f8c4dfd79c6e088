import { ipv4FromUint32, ipv4ToUint32, parsePrefix } from "../packet/address.ts";

/** Which interface name has which metadata address: the names gone longest first, those in use last. */
export type SavedMetadataAddresses = ReadonlyArray<{ name: string; address: string }>;

/** The metadata addresses of one agent, by interface name. */
export interface MetadataAddresses {
  /**
   * The address of a name: the one it had before, else `preferred` (what the datapath has for it) where that is free, else
   * a new one. When the pool is used up, the name that is gone longest loses its address; undefined when none is gone.
   */
  assign(name: string, preferred?: string): string | undefined;
  /** Notes that no interface has this name now. It keeps its address as long as the pool lasts. */
  release(name: string): void;
  /** Whether the name has an address, in use or not. */
  knows(name: string): boolean;
  /** What to save, in the order that `createMetadataAddresses` takes it. */
  toSave(): SavedMetadataAddresses;
}

/** The host's own address in a pool such as `"169.254.64.0/18"`, on onlink0: the first after the network address. */
export function hostAddress(pool: string): { address: string; prefixLength: number } {
  const { network, prefixLength } = readPool(pool);
  return { address: ipv4FromUint32(network + 1), prefixLength };
}

/**
 * The addresses of a pool, those saved earlier among them; none of these is in use until it is assigned. The network
 * address, the broadcast address and the host's own are never assigned; saved ones outside the pool are forgotten.
 */
export function createMetadataAddresses(pool: string, saved: SavedMetadataAddresses): MetadataAddresses {
  const { network, prefixLength } = readPool(pool);
  const first = network + 2;
  const last = network + 2 ** (32 - prefixLength) - 2;
  const isAssignable = (address: number) => address >= first && address <= last;

  /** By name; the order of entries is the order in which names came to be gone. */
  const gone = new Map<string, number>();
  const inUse = new Map<string, number>();
  const taken = new Set<number>();
  /** No address below is free: addresses are never freed, only handed from one name to another. */
  let next = first;

  for (const { name, address: text } of saved) {
    const address = ipv4ToUint32(text);
    if (!isAssignable(address) || taken.has(address) || gone.has(name)) continue;
    gone.set(name, address);
    taken.add(address);
  }

  function unused(preferred: string | undefined): number | undefined {
    const wanted = preferred === undefined ? undefined : ipv4ToUint32(preferred);
    if (wanted !== undefined && isAssignable(wanted) && !taken.has(wanted)) return wanted;
    while (next <= last && taken.has(next)) next += 1;
    return next <= last ? next : undefined;
  }

  function takeFromLongestGone(): number | undefined {
    const [longest] = gone;
    if (longest === undefined) return undefined;
    gone.delete(longest[0]);
    return longest[1];
  }

  return {
    assign(name, preferred) {
      const address = inUse.get(name) ?? gone.get(name) ?? unused(preferred) ?? takeFromLongestGone();
      if (address === undefined) return undefined;
      gone.delete(name);
      inUse.set(name, address);
      taken.add(address);
      return ipv4FromUint32(address);
    },
    release(name) {
      const address = inUse.get(name);
      if (address === undefined) return;
      inUse.delete(name);
      gone.set(name, address);
    },
    knows: (name) => inUse.has(name) || gone.has(name),
    toSave: () => [...gone, ...inUse].map(([name, address]) => ({ name, address: ipv4FromUint32(address) })),
  };
}

/** The configuration has checked the pool, so a wrong one is a programming error. */
function readPool(pool: string): { network: number; prefixLength: number } {
  const prefix = parsePrefix(pool);
  if (!prefix.ok) throw new RangeError(prefix.error.message);
  return { network: prefix.value.address, prefixLength: prefix.value.length };
}
