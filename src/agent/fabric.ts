import type { Logger } from "pino";
import type { Config } from "../config/schema.ts";
import type { Datapath } from "../datapath/types.ts";
import type { Rtnetlink } from "../linux/rtnetlink.ts";
import { ARPHRD_ETHER } from "./backends.ts";
import { messageOf } from "./errors.ts";

/** How a fabric interface stands. `waiting`: named in the configuration and not there. */
export type FabricState =
  | { name: string; state: "attached"; ifindex: number }
  | { name: string; state: "failed"; ifindex: number; reason: string }
  | { name: string; state: "waiting" };

/** Keeps the fabric program on the interfaces that lead to backends, and on those that the configuration names. */
export interface Fabric {
  /**
   * Attaches where it is wanted and not attached yet: to the interfaces of `fabric.interfaces`, and to those that lead to backends. Gives those that
   * could not be attached with the reasons, by ifindex.
   */
  attach(
    named: Config["fabric"]["interfaces"],
    leading: ReadonlyMap<number, string>,
  ): ReadonlyMap<number, string>;
  /**
   * Detaches where nothing was wanted in the last `attach`. An interface to which no backend leads any more keeps its program as long as flows
   * go through it: a flow stays with its backend, and its answers still come in there.
   */
  release(): void;
  /** Whether the interface has the program for certain. */
  has(ifindex: number): boolean;
  /** Forgets that an interface, or any, was attached, so that the next `attach` makes sure of it. */
  forget(ifindex?: number): void;
  list(): FabricState[];
}

/** What `createFabric` works on. */
export interface FabricOptions {
  network: Pick<Rtnetlink, "link">;
  datapath: Pick<Datapath, "attach" | "detach" | "attachments" | "hasFlows">;
  /** Told before an interface gets the fabric program and after it lost it: no interface is both vif and fabric. */
  onFabric: (ifindexes: ReadonlySet<number>) => void;
  log: Logger;
}

/** See `Fabric`. */
export function createFabric({ network, datapath, onFabric, log }: FabricOptions): Fabric {
  let states: FabricState[] = [];
  /** Wanted in the last `attach`. */
  let wanted: ReadonlySet<number> = new Set();
  /** Attached before the last `attach`, by whomever. */
  let before: readonly number[] = [];
  const attached = new Set<number>();
  /** Attached for their flows alone. */
  let kept: ReadonlySet<number> = new Set();

  function stateOfNamed(name: string): FabricState {
    const link = network.link(name);
    if (link === undefined) return { name, state: "waiting" };
    if (link.hardware === ARPHRD_ETHER) return { name, state: "attached", ifindex: link.ifindex };
    return { name, state: "failed", ifindex: link.ifindex, reason: "it is not Ethernet" };
  }

  function attach(state: FabricState): FabricState {
    if (state.state !== "attached" || attached.has(state.ifindex)) return state;
    try {
      datapath.attach("fabric", state.ifindex);
      log.info({ interface: state.name, ifindex: state.ifindex }, "fabric interface attached");
      return state;
    } catch (error) {
      const reason = messageOf(error);
      log.error({ interface: state.name, ifindex: state.ifindex, reason }, "fabric interface failed");
      return { ...state, state: "failed", reason };
    }
  }

  /** Those of some interfaces that are there and have flows. */
  function withFlows(ifindexes: readonly number[]): Set<number> {
    return new Set(
      ifindexes.filter((ifindex) => network.link(ifindex) !== undefined && datapath.hasFlows({ ifindex })),
    );
  }

  function keep(ifindex: number): void {
    if (attached.has(ifindex)) return;
    datapath.attach("fabric", ifindex);
    attached.add(ifindex);
  }

  return {
    attach(named, leading) {
      const byName = new Map<string, FabricState>();
      for (const name of named === "auto" ? [] : named) byName.set(name, stateOfNamed(name));
      for (const [ifindex, name] of leading) byName.set(name, { name, state: "attached", ifindex });
      const all = [...byName.values()];
      wanted = new Set(all.flatMap((s) => (s.state === "attached" ? [s.ifindex] : [])));
      before = datapath.attachments().flatMap((one) => (one.program === "fabric" ? [one.ifindex] : []));

      onFabric(new Set([...before, ...wanted]));
      states = all.map(attach);
      for (const { state, ifindex } of states.flatMap((s) => (s.state === "waiting" ? [] : [s]))) {
        if (state === "attached") attached.add(ifindex);
        else attached.delete(ifindex);
      }
      return new Map(states.flatMap((s) => (s.state === "failed" ? [[s.ifindex, s.reason]] : [])));
    },
    release() {
      const unwanted = before.filter((ifindex) => !wanted.has(ifindex));
      const keptBefore = kept;
      kept = withFlows(unwanted);
      for (const ifindex of unwanted) {
        if (kept.has(ifindex)) {
          keep(ifindex);
          if (!keptBefore.has(ifindex)) log.info({ ifindex }, "fabric interface kept for its flows");
          continue;
        }
        datapath.detach("fabric", ifindex);
        attached.delete(ifindex);
        log.info({ ifindex }, "fabric interface detached");
      }
      onFabric(new Set([...wanted, ...kept]));
    },
    has: (ifindex) => attached.has(ifindex),
    forget(ifindex) {
      if (ifindex === undefined) attached.clear();
      else attached.delete(ifindex);
    },
    list: () => states,
  };
}
