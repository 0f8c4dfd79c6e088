/**
 * The loaded programs as something that the model can be held against: the same configuration, one frame at a time, a clock that
 * can be moved, and all that they keep readable. Nothing is attached; interfaces exist since a frame must come from one.
 */
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { loadDatapath } from "../../src/datapath/datapath.ts";
import { DatapathError } from "../../src/datapath/errors.ts";
import {
  counterLayout,
  defenceKeyLayout,
  FLOW_SHARDS,
  flowKeyLayout,
  flowLayout,
  fragmentKeyLayout,
  fragmentLayout,
  REASON_COUNT,
  REASONS,
  u32Layout,
  vifStateLayout,
} from "../../src/datapath/layout.ts";
import {
  closeFd,
  deleteElement,
  forEachElement,
  getPinned,
  lookupElement,
  updateElement,
} from "../../src/datapath/libbpf.ts";
import { readPerCpu } from "../../src/datapath/maps.ts";
import { struct, u64 } from "../../src/datapath/struct.ts";
import { allFlows, openPrivateBpffs } from "../../src/datapath/testing.ts";
import type { Datapath, ProgramName, Reason, Settings, Vif } from "../../src/datapath/types.ts";
import { inNetworkNamespace, makeNetworkNamespace } from "../../src/linux/namespace.ts";
import { openRtnetlink } from "../../src/linux/rtnetlink.ts";
import { FABRIC, HOST, PLAIN_VIF, VIF } from "../../src/model/cases.ts";

const TC_ACT_OK = 0;
const TC_ACT_SHOT = 2;

/** What the programs did with a frame. */
export interface KernelResult {
  /** -1 untouched, 2 drop, 7 sent (TC_ACT_UNSPEC, TC_ACT_SHOT, TC_ACT_REDIRECT). */
  verdict: number;
  frame: Uint8Array;
  /** Reasons that it was counted under, on the system. */
  reasons: Reason[];
}

/** The interfaces that the frames come from: with the numbers that the model's cases give them. */
export interface Interfaces {
  vifs: [number, number];
  host: number;
  fabric: number;
  fabricMac: string;
}

/** An interface that the datapath knows nothing of, in the model's cases. */
const NO_VIF = 99;

const timeLayout = struct("__u64", { value: u64 });

/** Loads the programs in a network namespace of their own. `close` leaves nothing. */
export function openKernel() {
  const namespace = makeNetworkNamespace();
  const inside = <T>(action: () => T): T => inNetworkNamespace(namespace, action);
  const bpffs = openPrivateBpffs();
  inside(() => {
    for (const [name, ifindex] of Object.entries({
      vif0: VIF,
      vif1: PLAIN_VIF,
      fab0: FABRIC,
      onlink0: HOST,
      other: NO_VIF,
    })) {
      const link = (end: string, index: number) => ["name", end, "index", String(index)];
      const peer = link(`${name}-peer`, 100 + ifindex);
      execFileSync("ip", ["link", "add", ...link(name, ifindex), "type", "veth", "peer", ...peer]);
    }
  });
  const network = inside(openRtnetlink);
  const link = (name: string) => network.link(name)!;
  const interfaces: Interfaces = {
    vifs: [link("vif0").ifindex, link("vif1").ifindex],
    host: link("onlink0").ifindex,
    fabric: link("fab0").ifindex,
    fabricMac: link("fab0").mac!,
  };
  network.close();

  const datapath: Datapath = inside(() =>
    loadDatapath({ pinDir: bpffs.path, attach: "auto", flowCapacity: 4096 }),
  );
  const pinned = (name: string) => getPinned(join(bpffs.path, "maps", name))!;
  const maps = {
    counters: pinned("counters"),
    defences: pinned("defences"),
    flows: pinned("flows"),
    fragments: pinned("fragments"),
    vifStates: pinned("vif_states"),
  };
  const shards = Array.from({ length: FLOW_SHARDS }, (_, shard) => pinned(`flows_${shard}`));
  const reasonFrames = () =>
    Array.from({ length: REASON_COUNT }, (_, reason) =>
      readPerCpu(maps.counters, u32Layout.encode({ value: reason }), counterLayout.size)!.reduce(
        (sum, bytes) => sum + counterLayout.read(bytes).frames,
        0n,
      ),
    );
  let counted = reasonFrames();

  /** Every entry of a map, copied, so that it can be changed meanwhile. */
  function entries(fd: number, keySize: number, valueSize: number): Array<[Uint8Array, Uint8Array]> {
    const found: Array<[Uint8Array, Uint8Array]> = [];
    forEachElement(fd, keySize, valueSize, (key, value) => found.push([key.slice(), value.slice()]));
    return found;
  }

  return {
    interfaces,
    /** The datapath, for its configuration. */
    datapath,

    /** Forgets flows, fragments, defences and what was learned; the configuration stays. */
    reset(vifs: Map<number, Vif>, settings: Settings): void {
      inside(() => datapath.endFlows([{}]));
      for (const [key] of entries(maps.fragments, fragmentKeyLayout.size, fragmentLayout.size))
        deleteElement(maps.fragments, key);
      for (const [key] of entries(maps.defences, defenceKeyLayout.size, timeLayout.size))
        deleteElement(maps.defences, key);
      datapath.setSettings(settings);
      for (const [ifindex, vif] of vifs) {
        datapath.setVif(ifindex, vif);
        updateElement(
          maps.vifStates,
          u32Layout.encode({ value: ifindex }),
          new Uint8Array(vifStateLayout.size),
        );
      }
    },

    /** One frame through one program; undefined where the kernel takes no such frame for a test run (too short for its EtherType). */
    run(program: ProgramName, frame: Uint8Array, ifindex: number): KernelResult | undefined {
      try {
        const result = inside(() => datapath.run(program, frame, ifindex));
        const before = counted;
        counted = reasonFrames();
        const reasons = Object.entries(REASONS).flatMap(([name, reason]) =>
          counted[reason]! > before[reason]! ? [name as Reason] : [],
        );
        // What the host sends and nobody gets: it ends at the other end of onlink0.
        const verdict = program === "host" && result.verdict === TC_ACT_OK ? TC_ACT_SHOT : result.verdict;
        return { ...result, verdict, reasons };
      } catch (error) {
        if (error instanceof DatapathError && error.errno === 22) return undefined;
        throw error;
      }
    },

    flows: () => allFlows(datapath),

    /** Moves the clock on, by moving back all times that the programs have kept. */
    advance(ns: bigint): void {
      for (const shard of shards)
        for (const [key, value] of entries(shard, flowKeyLayout.size, flowLayout.size)) {
          const flow = flowLayout.read(value);
          updateElement(shard, key, flowLayout.encode({ ...flow, lastSeen: flow.lastSeen - ns }));
        }
      for (const [key, value] of entries(maps.fragments, fragmentKeyLayout.size, fragmentLayout.size)) {
        const fragment = fragmentLayout.read(value);
        updateElement(maps.fragments, key, fragmentLayout.encode({ ...fragment, seen: fragment.seen - ns }));
      }
      for (const [key, value] of entries(maps.defences, defenceKeyLayout.size, timeLayout.size))
        updateElement(maps.defences, key, timeLayout.encode({ value: timeLayout.read(value).value - ns }));
      for (const [key, value] of entries(maps.vifStates, u32Layout.size, vifStateLayout.size)) {
        const state = vifStateLayout.read(value);
        const rejectTat = state.rejectTat > ns ? state.rejectTat - ns : 0n;
        updateElement(maps.vifStates, key, vifStateLayout.encode({ ...state, rejectTat }));
      }
    },

    /** Lets the vif refuse no more (`exhausted`), or again as much as it may. */
    setRejectLimit(ifindex: number, exhausted: boolean): void {
      const key = u32Layout.encode({ value: ifindex });
      const value = new Uint8Array(vifStateLayout.size);
      lookupElement(maps.vifStates, key, value);
      const rejectTat = exhausted ? process.hrtime.bigint() + 3_600_000_000_000n : 0n;
      updateElement(maps.vifStates, key, vifStateLayout.encode({ ...vifStateLayout.read(value), rejectTat }));
    },

    close(): void {
      for (const fd of [...Object.values(maps), ...shards]) closeFd(fd);
      datapath.close();
      bpffs.close();
      closeFd(namespace);
    },
  };
}

/** See `openKernel`. */
export type Kernel = ReturnType<typeof openKernel>;
