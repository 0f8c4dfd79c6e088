/** Counters by reason: of the whole datapath, one for each CPU in the kernel and summed here, and of each vif. */
import { counterLayout, REASON_COUNT, REASONS, u32Layout } from "./layout.ts";
import { deleteElement, lookupElement, updateElement } from "./libbpf.ts";
import { readPerCpu } from "./maps.ts";
import type { StructValueOf } from "./struct.ts";
import type { Counter, Counters, Reason } from "./types.ts";

/** Size of `struct vif_counters`. */
const VIF_COUNTERS_SIZE = REASON_COUNT * counterLayout.size;

/** The maps `counters` and `vif_counters`, by their descriptors. */
export function openCounters(counters: number, vifCounters: number) {
  const keyOf = (number: number) => u32Layout.encode({ value: number });

  /** Of one vif, by reason, as the kernel has them; undefined where the vif is not known. */
  function readVif(ifindex: number): Record<Reason, StructValueOf<typeof counterLayout>> | undefined {
    const bytes = new Uint8Array(VIF_COUNTERS_SIZE);
    if (!lookupElement(vifCounters, keyOf(ifindex), bytes)) return undefined;
    return byReason((reason) => counterLayout.read(bytes.subarray(reason * counterLayout.size)));
  }

  return {
    /** Of the whole datapath. */
    total: (): Counters =>
      byReason((reason) => sum(readPerCpu(counters, keyOf(reason), counterLayout.size)!)),

    /** Of one vif; undefined when it is not known. */
    vif(ifindex: number): Counters | undefined {
      const read = readVif(ifindex);
      return read && mapValues(read, ({ frames, bytes }) => ({ frames, bytes }));
    },

    /** When a frame of each reason was last counted for a vif; reasons that never were are left out. */
    lastOfVif(ifindex: number): Partial<Record<Reason, bigint>> {
      const counted = Object.entries(readVif(ifindex) ?? {}).filter(([, { last }]) => last !== 0n);
      return Object.fromEntries(counted.map(([reason, { last }]) => [reason, last]));
    },

    /** Makes room for a vif's counters; those that are there stay. */
    addVif(ifindex: number): void {
      const key = keyOf(ifindex);
      const bytes = new Uint8Array(VIF_COUNTERS_SIZE);
      if (!lookupElement(vifCounters, key, bytes)) updateElement(vifCounters, key, bytes);
    },

    removeVif(ifindex: number): void {
      deleteElement(vifCounters, keyOf(ifindex));
    },
  };
}

function byReason<T>(of: (reason: number) => T): Record<Reason, T> {
  return mapValues(REASONS, of);
}

function mapValues<K extends string, V, T>(record: Record<K, V>, to: (value: V) => T): Record<K, T> {
  const pairs = Object.entries<V>(record).map(([key, value]) => [key, to(value)]);
  return Object.fromEntries(pairs) as Record<K, T>;
}

function sum(ofCpus: Uint8Array[]): Counter {
  const total = { frames: 0n, bytes: 0n };
  for (const bytes of ofCpus) {
    const { frames, bytes: length } = counterLayout.read(bytes);
    total.frames += frames;
    total.bytes += length;
  }
  return total;
}
