import { isDeepStrictEqual } from "node:util";
import type { Logger } from "pino";
import { interfaceMatcher } from "../config/match.ts";
import { isPattern } from "../config/names.ts";
import type { Config, InterfaceRule } from "../config/schema.ts";
import type { Datapath, Vif } from "../datapath/types.ts";
import type { Link, NetworkEvent, Rtnetlink } from "../linux/rtnetlink.ts";
import { ARPHRD_ETHER } from "./backends.ts";
import { messageOf } from "./errors.ts";
import { type GuestIdentity, guestIdentity } from "./guest-identity.ts";
import type { MetadataAddresses, SavedMetadataAddresses } from "./metadata-addresses.ts";

/**
 * How an interface stands that the configuration or a registration names, or that fits a pattern. `attached`: a vif. `fabric`: it leads
 * to fabric backends, so no guest is behind it. `failed`: see the reason; tried again when the link changes, and at `retry`. `disabled`: by
 * its registration. `waiting`: not there.
 */
export type InterfaceState =
  | { name: string; state: "attached"; ifindex: number; metadataAddress: string }
  | { name: string; state: "fabric"; ifindex: number }
  | { name: string; state: "failed"; ifindex: number; reason: string }
  | { name: string; state: "disabled"; ifindex: number }
  | { name: string; state: "waiting" };

/** Interfaces that are wanted beside those of the configuration, by their full names; the configuration's own names win. */
export interface Registrations {
  get(name: string): Registration | undefined;
  names(): Iterable<string>;
}

/** An interface that was registered while the agent runs. */
export interface Registration {
  rule: InterfaceRule;
  /** No vif, whatever pattern it fits. */
  disabled: boolean;
}

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
  /** Takes note that the registration of this name has come, changed or gone. */
  registrationChanged(name: string): void;
  /** Tries those that failed again. */
  retry(): void;
  /** Says which interfaces lead to fabric backends: they are never vifs. */
  setFabric(ifindexes: ReadonlySet<number>): void;
  list(): InterfaceState[];
  /** The state of one; undefined where neither the configuration nor a registration has anything for this name. */
  stateOf(name: string): InterfaceState | undefined;
  /** The name of the interface with this ifindex; undefined when there is none. */
  nameOf(ifindex: number): string | undefined;
  /** Who is behind the vif that has this metadata address, and the same object until that changes; undefined when none has. */
  guestOf(metadataAddress: string): GuestIdentity | undefined;
}

/** The sections of the configuration that say which interfaces are vifs, and how. */
export type InterfacesConfig = Pick<Config, "interfaces" | "defaults" | "agent">;

/** What `createInterfaces` works on. */
export interface InterfacesOptions {
  config: InterfacesConfig;
  registrations: Registrations;
  network: Pick<Rtnetlink, "link">;
  datapath: Pick<Datapath, "vifs" | "setVif" | "removeVif" | "attach" | "detach" | "attachments">;
  addresses: MetadataAddresses;
  /** Makes durable which names have got which addresses, before the datapath learns of them. Where it throws, no vif is added. */
  saveAddresses: (added: SavedMetadataAddresses) => void;
  log: Logger;
}

/** What the datapath should hold for an interface with this rule. */
export function desiredVif(
  rule: Omit<InterfaceRule, "name">,
  defaults: Config["defaults"],
  metadataAddress: string,
): Vif {
  const { addresses = [], mac, gateway, antiSpoof, unknownPort, arpReply } = rule;
  return {
    metadataAddress,
    addresses,
    mac,
    gateway: gateway?.answerArp ? gateway.address : undefined,
    antiSpoof: antiSpoof ?? defaults.antiSpoof,
    unknownPort: unknownPort ?? defaults.unknownPort,
    arpReply: arpReply ?? defaults.arpReply,
  };
}

/** Whether two vifs mean the same: of the addresses only the first has a place of its own. */
function sameVif(a: Vif, b: Vif): boolean {
  return (Object.keys({ ...a, ...b }) as Array<keyof Vif>).every((field) =>
    field === "addresses" ? sameAddresses(a.addresses, b.addresses) : a[field] === b[field],
  );
}

function sameAddresses(a: string[], b: string[]): boolean {
  const isWithin = (one: string[], other: string[]) => one.every((address) => other.includes(address));
  return a.length === b.length && a[0] === b[0] && isWithin(a, b) && isWithin(b, a);
}

/** By name as people sort: tap2 before tap10. */
const { compare: compareNames } = new Intl.Collator("en", { numeric: true });

/** See `Interfaces`. Nothing is known and nothing is written before the first `reset`. */
export function createInterfaces(options: InterfacesOptions): Interfaces {
  const { registrations, network, datapath, addresses, saveAddresses, log } = options;
  let { config } = options;
  let rules = readRules(config);
  const links = new Map<number, Link>();
  /** ifindexes of the links, by name. */
  const indexes = new Map<string, number>();
  let fabric: ReadonlySet<number> = new Set();
  /** The vifs by ifindex, each as the datapath has it. */
  const vifs = new Map<
    number,
    { name: string; vif: Vif; known?: { rule: InterfaceRule; guest: GuestIdentity } }
  >();
  /** ifindexes of the vifs, by metadata address. */
  const byAddress = new Map<string, number>();
  const failures = new Map<number, string>();
  /** Addresses that names have got and that are not saved, in that order. */
  const unsaved: Array<SavedMetadataAddresses[number]> = [];

  function readRules(config: InterfacesConfig) {
    return {
      of: interfaceMatcher(config, (name) => registrations.get(name)?.rule),
      configured: new Set(config.interfaces.map(({ name }) => name)),
    };
  }

  /** Notes what an ifindex is now. Somebody else who had the name has lost it, though we were not told yet. */
  function see(link: Link): void {
    unsee(link.ifindex);
    const former = indexes.get(link.name);
    if (former !== undefined) {
      remove(former);
      unsee(former);
    }
    links.set(link.ifindex, link);
    indexes.set(link.name, link.ifindex);
  }

  function unsee(ifindex: number): void {
    const link = links.get(ifindex);
    if (link === undefined) return;
    links.delete(ifindex);
    indexes.delete(link.name);
  }

  function isDisabled(name: string): boolean {
    return !rules.configured.has(name) && registrations.get(name)?.disabled === true;
  }

  function isWanted({ ifindex, name, hardware }: Link): boolean {
    return (
      rules.of(name) !== undefined && !isDisabled(name) && hardware === ARPHRD_ETHER && !fabric.has(ifindex)
    );
  }

  /** What the datapath should hold for a link that has a rule. */
  function desired(link: Link, metadataAddress: string): Vif {
    return desiredVif(rules.of(link.name)!, config.defaults, metadataAddress);
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
    // Names that have an address go first: a new name may take one from a name that is gone, but these are here.
    const ordered = [...wanted].sort(
      (a, b) => Number(addresses.knows(b.name)) - Number(addresses.knows(a.name)),
    );
    const assigned = ordered.map((link) => {
      const before = found.get(link.ifindex);
      const isNew = !addresses.knows(link.name);
      const address = addresses.assign(link.name, before?.metadataAddress);
      if (isNew && address !== undefined) unsaved.push({ name: link.name, address });
      return { link, before, address };
    });
    try {
      if (unsaved.length > 0) saveAddresses(unsaved);
      unsaved.length = 0;
    } catch (error) {
      for (const { link } of assigned) {
        addresses.release(link.name);
        fail(link, `cannot save its metadata address: ${messageOf(error)}`);
      }
      return;
    }

    for (const { link, before, address } of assigned) {
      const { ifindex, name } = link;
      if (address === undefined) {
        fail(link, "no metadata address is left; make agent.metadataAddresses larger");
        continue;
      }
      const vif = desired(link, address);
      try {
        // Another address means that another interface had this ifindex: its flows are not ours.
        const isOther = before !== undefined && before.metadataAddress !== address;
        if (isOther) datapath.removeVif(ifindex);
        if (before === undefined || !sameVif(before, vif)) datapath.setVif(ifindex, vif);
        datapath.attach("vif", ifindex);
      } catch (error) {
        addresses.release(name);
        forget(ifindex);
        fail(link, messageOf(error));
        continue;
      }
      failures.delete(ifindex);
      vifs.set(ifindex, { name, vif });
      byAddress.set(address, ifindex);
      log.info({ interface: name, ifindex, metadataAddress: address }, "vif attached");
    }
  }

  /** Brings a vif in step with its rule. Where that fails it stays as it was, and `retry` tries again. */
  function update(link: Link, before: Vif): void {
    const { ifindex, name } = link;
    const vif = desired(link, before.metadataAddress);
    if (sameVif(before, vif)) return;
    try {
      datapath.setVif(ifindex, vif);
    } catch (error) {
      fail(link, messageOf(error));
      return;
    }
    failures.delete(ifindex);
    vifs.set(ifindex, { name, vif });
    log.info({ interface: name, ifindex }, "vif changed");
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
    const { name, vif } = attached;
    vifs.delete(ifindex);
    byAddress.delete(vif.metadataAddress);
    forget(ifindex);
    addresses.release(name);
    log.info({ interface: name, ifindex }, "vif detached");
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

  function stateOf({ ifindex, name, hardware }: Link): InterfaceState {
    const attached = vifs.get(ifindex);
    if (attached !== undefined) {
      return { name, state: "attached", ifindex, metadataAddress: attached.vif.metadataAddress };
    }
    if (fabric.has(ifindex)) return { name, state: "fabric", ifindex };
    if (isDisabled(name)) return { name, state: "disabled", ifindex };
    const reason = hardware === ARPHRD_ETHER ? failures.get(ifindex) : "it is not Ethernet";
    return { name, state: "failed", ifindex, reason: reason ?? "not attached yet" };
  }

  return {
    configure(next) {
      const sections = ({ interfaces, defaults }: InterfacesConfig) => [interfaces, defaults];
      const isSame = isDeepStrictEqual(sections(config), sections(next));
      config = next;
      if (isSame) return;
      rules = readRules(config);
      settle(links.keys());
    },

    reset(present) {
      links.clear();
      indexes.clear();
      for (const { name } of vifs.values()) addresses.release(name);
      vifs.clear();
      byAddress.clear();
      failures.clear();
      for (const link of present) see(link);
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
        if (event.kind === "link-gone") {
          unsee(event.ifindex);
          remove(event.ifindex);
        } else if (event.kind === "link") {
          const { ifindex, name, hardware } = event.link;
          const known = links.get(ifindex);
          touched.add(ifindex);
          if (known?.name === name && known.hardware === hardware) continue;
          // The event may be older than what we know, or than what is there by now: the kernel is asked.
          const now = network.link(ifindex);
          // A rename is an interface that goes and another that comes.
          if (now?.name !== known?.name) remove(ifindex);
          if (now === undefined) unsee(ifindex);
          else see(now);
        }
      }
      settle(touched);
    },

    registrationChanged(name) {
      const ifindex = indexes.get(name);
      if (ifindex !== undefined) settle([ifindex]);
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
      const states = [...links.values()].filter(({ name }) => rules.of(name) !== undefined).map(stateOf);
      const wanted = new Set([...rules.configured, ...registrations.names()]);
      for (const name of wanted) {
        if (!isPattern(name) && !indexes.has(name)) states.push({ name, state: "waiting" });
      }
      return states.sort((a, b) => compareNames(a.name, b.name));
    },

    stateOf(name) {
      const link = links.get(indexes.get(name) ?? -1);
      if (link !== undefined) return rules.of(name) === undefined ? undefined : stateOf(link);
      const isExpected = rules.configured.has(name) || registrations.get(name) !== undefined;
      return isExpected && !isPattern(name) ? { name, state: "waiting" } : undefined;
    },

    nameOf: (ifindex) => links.get(ifindex)?.name,

    guestOf(metadataAddress) {
      const ifindex = byAddress.get(metadataAddress);
      if (ifindex === undefined) return undefined;
      const attached = vifs.get(ifindex)!;
      const { name } = attached;
      const rule = rules.of(name)!;
      if (attached.known?.rule !== rule) {
        attached.known = { rule, guest: guestIdentity(rule, { interface: name, ifindex, metadataAddress }) };
      }
      return attached.known.guest;
    },
  };
}
