import { isDeepStrictEqual } from "node:util";
import type { Config } from "../config/schema.ts";

/**
 * What of a new configuration an agent cannot take over while it runs, one line for each field: names and places of the agent itself, and
 * the fabric's ports, since of flows outside a changed range the answers would be lost. Empty when it can.
 */
export function needsRestart(before: Config, after: Config): string[] {
  return [
    ...changedFields("agent", before.agent, after.agent),
    ...changedFields("api", before.api, after.api),
    ...changedFields("fabric", { ports: before.fabric.ports }, { ports: after.fabric.ports }),
  ];
}

function changedFields(section: string, before: object, after: object): string[] {
  const old = new Map(Object.entries(before));
  return Object.entries(after)
    .filter(([field, value]) => !isDeepStrictEqual(old.get(field), value))
    .map(
      ([field, value]) =>
        `${section}.${field}: a change from ${JSON.stringify(old.get(field))} to ${JSON.stringify(value)} needs a restart of the agent`,
    );
}
