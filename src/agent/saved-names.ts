/** The last addresses of the names of backends, kept over a restart of the agent. */
import { join } from "node:path";
import type { Logger } from "pino";
import * as z from "zod";
import { isIpv4 } from "../packet/address.ts";
import { loadJson, type SavedJson, saveJson } from "./saved-json.ts";

/** Addresses by name. */
export type SavedNames = ReadonlyMap<string, readonly string[]>;

const fileSchema = z.object({
  version: z.literal(1),
  names: z.array(z.tuple([z.string(), z.array(z.string().refine(isIpv4))])),
});

/** Where they are kept. */
export function namesFile(stateDir: string): string {
  return join(stateDir, "names.json");
}

/** Keeps them. Throws what the file system says. */
export function saveNames(stateDir: string, names: SavedNames): void {
  saveJson(namesFile(stateDir), { version: 1, names: [...names] });
}

/** What was kept. Without it names are only asked for anew. */
export function loadNames(stateDir: string, log: Logger): SavedNames {
  return new Map(loadJson(savedIn(stateDir), log)?.names);
}

function savedIn(stateDir: string): SavedJson<z.output<typeof fileSchema>> {
  return {
    file: namesFile(stateDir),
    schema: fileSchema,
    content: "a list of names and their addresses",
    unreadable: "the saved addresses of names cannot be read; asking anew",
  };
}
