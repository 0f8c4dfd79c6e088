/** Counters by reason, per CPU in the kernel and summed here. */
import { counterLayout, REASON_COUNT, REASONS, u32Layout } from "./layout.ts";
import { deleteElement, possibleCpus, updateElement } from "./libbpf.ts";
import { readPerCpu } from "./maps.ts";
import type { Counters, Reason } from "./types.ts";

/** A counter with the time of its last frame (ns, CLOCK_MONOTONIC; 0: never). */
type TimedCounter = { frames: bigint; bytes: bigint; last: bigint };

/** Size of `struct vif_counters`. */
const VIF_COUNTERS_SIZE = REASON_COUNT * counterLayout.size;

/** The maps `counters` and `vif_counters`, by their descriptors. */
export function openCounters(counters: number, vifCounters: number) {
  const keyOf = (number: number) => u32Layout.encode({ value: number });
  const ofVif = (ifindex: number) => readPerCpu(vifCounters, keyOf(ifindex), VIF_COUNTERS_SIZE);

  /** By reason; undefined where the vif is not known. */
  function timedOfVif(ifindex: number): Array<[Reason, TimedCounter]> | undefined {
    const ofCpus = ofVif(ifindex);
    if (ofCpus === undefined) return undefined;
    return byReason((reason) => {
      const at = reason * counterLayout.size;
      return sum(ofCpus.map((bytes) => bytes.subarray(at, at + counterLayout.size)));
    });
  }

  return {
    /** Of the whole datapath. */
    total: (): Counters =>
      untimed(byReason((reason) => sum(readPerCpu(counters, keyOf(reason), counterLayout.size)!))),

    /** Of one vif; undefined when it is not known. */
    vif(ifindex: number): Counters | undefined {
      const timed = timedOfVif(ifindex);
      return timed && untimed(timed);
    },

    /** When a frame of each reason was last counted for a vif; reasons that never were are left out. */
    lastOfVif(ifindex: number): Partial<Record<Reason, bigint>> {
      const counted = (timedOfVif(ifindex) ?? []).filter(([, { last }]) => last !== 0n);
      return Object.fromEntries(counted.map(([reason, { last }]) => [reason, last]));
    },

    /** Makes room for a vif's counters; those that are there stay. */
    addVif(ifindex: number): void {
      if (ofVif(ifindex) === undefined)
        updateElement(vifCounters, keyOf(ifindex), new Uint8Array(VIF_COUNTERS_SIZE * possibleCpus()));
    },

    removeVif(ifindex: number): void {
      deleteElement(vifCounters, keyOf(ifindex));
    },
  };
}

function byReason(counter: (reason: number) => TimedCounter): Array<[Reason, TimedCounter]> {
  return Object.entries(REASONS).map(([name, reason]) => [name as Reason, counter(reason)]);
}

function untimed(counters: Array<[Reason, TimedCounter]>): Counters {
  const pairs = counters.map(([name, { frames, bytes }]) => [name, { frames, bytes }]);
  return Object.fromEntries(pairs) as Counters;
}

function sum(ofCpus: Uint8Array[]): TimedCounter {
  const total = { frames: 0n, bytes: 0n, last: 0n };
  for (const bytes of ofCpus) {
    const { frames, bytes: length, last } = counterLayout.read(bytes);
    total.frames += frames;
    total.bytes += length;
    if (last > total.last) total.last = last;
  }
  return total;
}
