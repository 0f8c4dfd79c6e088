import { isDeepStrictEqual } from "node:util";
import type { Config } from "../config/schema.ts";
import { flowCapacity } from "./prepare.ts";

/**
 * What of a new configuration an agent cannot take over while it runs, one line for each field: names and places of the agent itself, the
 * fabric's ports, since of flows outside a changed range the answers would be lost, and a limit of flows that the flow maps have no room for.
 * Empty when it can.
 */
export function needsRestart(before: Config, after: Config): string[] {
  return [
    ...changedFields("agent", before.agent, after.agent),
    ...changedFields("api", before.api, after.api),
    ...changedFields("fabric", { ports: before.fabric.ports }, { ports: after.fabric.ports }),
    ...(flowCapacity(after.limits.flows) > flowCapacity(before.limits.flows)
      ? changedFields("limits", { flows: before.limits.flows }, { flows: after.limits.flows })
      : []),
  ];
}

/**
 * A new configuration with what it has in common with the one before as the very objects of that: services, interfaces and whole sections. Whoever
 * compares the two later on then finds what is unchanged without looking into it.
 */
export function withUnchangedParts(before: Config, after: Config): Config {
  const parts = {
    ...after,
    services: withUnchangedEntries(before.services, after.services),
    interfaces: withUnchangedEntries(before.interfaces, after.interfaces),
  };
  const sections = Object.keys(parts).map((section) => {
    const [old, now] = [sectionOf(before, section), sectionOf(parts, section)];
    return [section, isDeepStrictEqual(old, now) ? old : now];
  });
  return Object.fromEntries(sections) as Config;
}

function withUnchangedEntries<T extends { name: string }>(before: readonly T[], after: readonly T[]): T[] {
  const old = new Map(before.map((entry) => [entry.name, entry]));
  return after.map((entry) => {
    const same = old.get(entry.name);
    return same !== undefined && isDeepStrictEqual(same, entry) ? same : entry;
  });
}

/** What differs between two configurations, for the log: by name what came, changed or went, and the other sections that changed. */
export interface ConfigChanges {
  services: NamesChanged;
  interfaces: NamesChanged;
  sections: string[];
}

/** Names of entries of a list. */
export interface NamesChanged {
  added: string[];
  changed: string[];
  removed: string[];
}

/** What differs between two configurations; undefined when nothing does. The order of a list counts as a change of nothing in it. */
export function changesBetween(before: Config, after: Config): ConfigChanges | undefined {
  if (isDeepStrictEqual(before, after)) return undefined;
  const others = Object.keys(after).filter((section) => section !== "services" && section !== "interfaces");
  return {
    services: namesChanged(before.services, after.services),
    interfaces: namesChanged(before.interfaces, after.interfaces),
    sections: others.filter(
      (section) => !isDeepStrictEqual(sectionOf(before, section), sectionOf(after, section)),
    ),
  };
}

function sectionOf(config: Config, section: string): unknown {
  return config[section as keyof Config];
}

function namesChanged<T extends { name: string }>(before: readonly T[], after: readonly T[]): NamesChanged {
  const old = new Map(before.map((entry) => [entry.name, entry]));
  const kept = new Set(after.map(({ name }) => name));
  return {
    added: after.filter(({ name }) => !old.has(name)).map(({ name }) => name),
    changed: after
      .filter((entry) => old.has(entry.name) && !isDeepStrictEqual(old.get(entry.name), entry))
      .map(({ name }) => name),
    removed: before.filter(({ name }) => !kept.has(name)).map(({ name }) => name),
  };
}

function changedFields(section: string, before: object, after: object): string[] {
  const old = new Map(Object.entries(before));
  const now = new Map(Object.entries(after));
  const show = (value: unknown) => (value === undefined ? "none" : JSON.stringify(value));
  return [...new Set([...old.keys(), ...now.keys()])]
    .filter((field) => !isDeepStrictEqual(old.get(field), now.get(field)))
    .map(
      (field) =>
        `${section}.${field}: a change from ${show(old.get(field))} to ${show(now.get(field))} needs a restart of the agent`,
    );
}
