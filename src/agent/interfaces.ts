import { isDeepStrictEqual } from "node:util";
import type { Logger } from "pino";
import { matchInterface } from "../config/match.ts";
import { isPattern } from "../config/names.ts";
import type { Config, InterfaceRule } from "../config/schema.ts";
import type { Datapath, Vif } from "../datapath/types.ts";
import type { Link, NetworkEvent } from "../linux/rtnetlink.ts";
import { ARPHRD_ETHER } from "./backends.ts";
import { messageOf } from "./errors.ts";
import type { MetadataAddresses } from "./metadata-addresses.ts";

/**
 * How an interface stands that the configuration names, or that fits one of its patterns. `attached`: a vif. `fabric`: it leads
 * to fabric backends, so no guest is behind it. `failed`: see the reason; tried again when the link changes, and at `retry`. `waiting`: not there.
 */
export type InterfaceState =
  | { name: string; state: "attached"; ifindex: number; metadataAddress: string }
  | { name: string; state: "fabric"; ifindex: number }
  | { name: string; state: "failed"; ifindex: number; reason: string }
  | { name: string; state: "waiting" };

/** Keeps the datapath's vifs in step with the host's interfaces. */
export interface Interfaces {
  /**
   * Takes a new configuration: interfaces that have a rule now are attached, those that have none any more are detached, and a vif whose rule
   * means something else is changed in place, its flows left alone.
   */
  configure(config: InterfacesConfig): void;
  /**
   * Takes the complete list of interfaces: at the start, when the datapath may hold what an earlier agent left, and
   * whenever events were lost. Vifs that are still wanted stay in place without a gap.
   */
  reset(links: readonly Link[]): void;
  /** Takes changes. An event that changes nothing for us writes nothing. */
  handle(events: readonly NetworkEvent[]): void;
  /** Tries those that failed again. */
  retry(): void;
  /** Says which interfaces lead to fabric backends: they are never vifs. */
  setFabric(ifindexes: ReadonlySet<number>): void;
  list(): InterfaceState[];
  /** The name of the interface with this ifindex; undefined when there is none. */
  nameOf(ifindex: number): string | undefined;
}

/** The sections of the configuration that say which interfaces are vifs, and how. */
export type InterfacesConfig = Pick<Config, "interfaces" | "defaults" | "agent">;

/** What `createInterfaces` works on. */
export interface InterfacesOptions {
  config: InterfacesConfig;
  datapath: Pick<Datapath, "vifs" | "setVif" | "removeVif" | "attach" | "detach" | "attachments">;
  addresses: MetadataAddresses;
  /** Makes the metadata addresses durable; called before the datapath learns of a new one. Where it throws, no vif is added. */
  saveAddresses: () => void;
  log: Logger;
}

/** What the datapath should hold for an interface with this rule. */
export function desiredVif(
  rule: Omit<InterfaceRule, "name">,
  defaults: Config["defaults"],
  metadataAddress: string,
): Vif {
  const { addresses = [], mac, gateway, antiSpoof = defaults.antiSpoof } = rule;
  return {
    metadataAddress,
    addresses,
    mac,
    gateway: gateway?.answerArp ? gateway.address : undefined,
    antiSpoof,
    unknownPort: defaults.unknownPort,
    arpReply: defaults.arpReply,
  };
}

/** Whether two vifs mean the same: of the addresses only the first has a place of its own. */
function sameVif(a: Vif, b: Vif): boolean {
  const inOrder = ({ addresses: [first, ...others], ...rest }: Vif) => [rest, first, others.sort()];
  return isDeepStrictEqual(inOrder(a), inOrder(b));
}

/** See `Interfaces`. Nothing is known and nothing is written before the first `reset`. */
export function createInterfaces(options: InterfacesOptions): Interfaces {
  const { datapath, addresses, saveAddresses, log } = options;
  let { config } = options;
  let links = new Map<number, Link>();
  let fabric: ReadonlySet<number> = new Set();
  /** The vifs by ifindex, each as the datapath has it. */
  const vifs = new Map<number, { name: string; vif: Vif }>();
  const failures = new Map<number, string>();
  /** Whether names have got addresses that are not saved. */
  let unsaved = false;

  function isWanted(link: Link): boolean {
    return (
      matchInterface(config, link.name) !== undefined &&
      link.hardware === ARPHRD_ETHER &&
      !fabric.has(link.ifindex)
    );
  }

  /** What the datapath should hold for a link that has a rule. */
  function desired(link: Link, metadataAddress: string): Vif {
    return desiredVif(matchInterface(config, link.name)!, config.defaults, metadataAddress);
  }

  function fail(link: Link, reason: string): void {
    if (failures.get(link.ifindex) !== reason)
      log.error({ interface: link.name, reason }, "interface failed");
    failures.set(link.ifindex, reason);
  }

  /**
   * Adds vifs: all addresses are assigned and saved first, at the cost of one write however many there are. `found` is what the
   * datapath holds already.
   */
  function add(wanted: readonly Link[], found: ReadonlyMap<number, Vif>): void {
    if (wanted.length === 0) return;
    unsaved ||= !wanted.every(({ name }) => addresses.knows(name));
    // Names that have an address go first: a new name may take one from a name that is gone, but these are here.
    const ordered = [...wanted].sort(
      (a, b) => Number(addresses.knows(b.name)) - Number(addresses.knows(a.name)),
    );
    const assigned = ordered.map((link) => {
      const before = found.get(link.ifindex);
      return { link, before, address: addresses.assign(link.name, before?.metadataAddress) };
    });
    try {
      if (unsaved) saveAddresses();
      unsaved = false;
    } catch (error) {
      for (const { link } of assigned) {
        addresses.release(link.name);
        fail(link, `cannot save its metadata address: ${messageOf(error)}`);
      }
      return;
    }

    for (const { link, before, address } of assigned) {
      if (address === undefined) {
        fail(link, "no metadata address is left; make agent.metadataAddresses larger");
        continue;
      }
      try {
        // Another address means that another interface had this ifindex: its flows are not ours.
        const isOther = before !== undefined && before.metadataAddress !== address;
        if (isOther) datapath.removeVif(link.ifindex);
        const vif = desired(link, address);
        if (before === undefined || !sameVif(before, vif)) datapath.setVif(link.ifindex, vif);
        datapath.attach("vif", link.ifindex);
        vifs.set(link.ifindex, { name: link.name, vif });
      } catch (error) {
        addresses.release(link.name);
        forget(link.ifindex);
        fail(link, messageOf(error));
        continue;
      }
      failures.delete(link.ifindex);
      log.info({ interface: link.name, ifindex: link.ifindex, metadataAddress: address }, "vif attached");
    }
  }

  /** Brings a vif in step with its rule. Where that fails it stays as it was, and `retry` tries again. */
  function update(link: Link, before: Vif): void {
    const vif = desired(link, before.metadataAddress);
    if (sameVif(before, vif)) return;
    try {
      datapath.setVif(link.ifindex, vif);
    } catch (error) {
      fail(link, messageOf(error));
      return;
    }
    failures.delete(link.ifindex);
    vifs.set(link.ifindex, { name: link.name, vif });
    log.info({ interface: link.name, ifindex: link.ifindex }, "vif changed");
  }

  /** Takes an interface out of the datapath. Detached first, so that no frame finds the program but not the vif. */
  function forget(ifindex: number): void {
    try {
      datapath.detach("vif", ifindex);
      datapath.removeVif(ifindex);
    } catch (error) {
      log.error({ ifindex, reason: messageOf(error) }, "cannot take an interface out of the datapath");
    }
  }

  function remove(ifindex: number): void {
    failures.delete(ifindex);
    const attached = vifs.get(ifindex);
    if (attached === undefined) return;
    vifs.delete(ifindex);
    forget(ifindex);
    addresses.release(attached.name);
    log.info({ interface: attached.name, ifindex }, "vif detached");
  }

  function settle(ifindexes: Iterable<number>): void {
    const additions: Link[] = [];
    for (const ifindex of ifindexes) {
      const link = links.get(ifindex);
      const attached = vifs.get(ifindex);
      if (link === undefined || !isWanted(link)) remove(ifindex);
      else if (attached === undefined) additions.push(link);
      else update(link, attached.vif);
    }
    // What the datapath held of these was taken out when they went.
    add(additions, new Map());
  }

  return {
    configure(next) {
      config = next;
      settle(links.keys());
    },

    reset(present) {
      links = new Map(present.map((link) => [link.ifindex, link]));
      for (const { name } of vifs.values()) addresses.release(name);
      vifs.clear();
      failures.clear();
      const wanted = present.filter(isWanted);
      const wantedIndexes = new Set(wanted.map(({ ifindex }) => ifindex));
      const found = datapath.vifs();
      const inDatapath = new Set([
        ...found.keys(),
        ...datapath
          .attachments()
          .filter(({ program }) => program === "vif")
          .map(({ ifindex }) => ifindex),
      ]);
      for (const ifindex of inDatapath) if (!wantedIndexes.has(ifindex)) forget(ifindex);
      add(wanted, found);
    },

    handle(events) {
      const touched = new Set<number>();
      for (const event of events) {
        if (event.kind === "link") {
          const { link } = event;
          // A rename is an interface that goes and another that comes.
          if (links.get(link.ifindex)?.name !== link.name) remove(link.ifindex);
          links.set(link.ifindex, link);
          touched.add(link.ifindex);
        } else if (event.kind === "link-gone") {
          links.delete(event.ifindex);
          remove(event.ifindex);
        }
      }
      settle(touched);
    },

    retry() {
      settle([...failures.keys()]);
    },

    setFabric(ifindexes) {
      const changed = [...fabric, ...ifindexes].filter((i) => fabric.has(i) !== ifindexes.has(i));
      fabric = ifindexes;
      settle(new Set(changed));
    },

    list() {
      const states: InterfaceState[] = [];
      const names = new Set<string>();
      for (const { ifindex, name, hardware } of links.values()) {
        if (matchInterface(config, name) === undefined) continue;
        names.add(name);
        const attached = vifs.get(ifindex);
        if (attached !== undefined) {
          states.push({ name, state: "attached", ifindex, metadataAddress: attached.vif.metadataAddress });
        } else if (fabric.has(ifindex)) states.push({ name, state: "fabric", ifindex });
        else {
          const reason = hardware === ARPHRD_ETHER ? failures.get(ifindex) : "it is not Ethernet";
          states.push({ name, state: "failed", ifindex, reason: reason ?? "not attached yet" });
        }
      }
      for (const { name } of config.interfaces) {
        if (!isPattern(name) && !names.has(name)) states.push({ name, state: "waiting" });
      }
      return states.sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
    },

    nameOf: (ifindex) => links.get(ifindex)?.name,
  };
}
