/** Which backends were unhealthy, kept over a restart of the agent. */
import { join } from "node:path";
import type { Logger } from "pino";
import * as z from "zod";
import { loadJson, type SavedJson, saveJson } from "./saved-json.ts";

/** A backend of a service that its last checks took out of use. */
export interface UnhealthyBackend {
  service: string;
  /** The backend, as `health.ts` knows it. */
  backend: string;
  /** Since when (ISO 8601). */
  since: string;
  /** Why the last check failed, where it did. */
  error?: string | undefined;
}

const fileSchema = z.object({
  version: z.literal(1),
  unhealthy: z.array(
    z.object({
      service: z.string(),
      backend: z.string(),
      since: z.iso.datetime(),
      error: z.string().optional(),
    }),
  ),
});

/** Where they are kept. */
export function healthFile(stateDir: string): string {
  return join(stateDir, "health.json");
}

/** Keeps them. Throws what the file system says. */
export function saveHealth(stateDir: string, unhealthy: readonly UnhealthyBackend[]): void {
  saveJson(healthFile(stateDir), { version: 1, unhealthy });
}

/** What was kept. Without it every backend is healthy until it is checked. */
export function loadHealth(stateDir: string, log: Logger): UnhealthyBackend[] {
  return loadJson(savedIn(stateDir), log)?.unhealthy ?? [];
}

function savedIn(stateDir: string): SavedJson<z.output<typeof fileSchema>> {
  return {
    file: healthFile(stateDir),
    schema: fileSchema,
    content: "a list of unhealthy backends",
    unreadable: "the saved health of backends cannot be read; checking anew",
  };
}
