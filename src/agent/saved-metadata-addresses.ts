/**
 * The metadata addresses of interface names, kept over restarts in `metadata-addresses.json`: a line of JSON for each name that got an address, the
 * last one of a name or an address counts. So what one new name costs does not grow with the others; now and then the file is written anew.
 */
import { closeSync, existsSync, fdatasyncSync, openSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ipv4ToUint32 } from "../packet/address.ts";
import { AgentError, messageOf } from "./errors.ts";
import { readFileIfThere, writeFileAtomically } from "./files.ts";
import {
  createMetadataAddresses,
  type MetadataAddresses,
  type SavedMetadataAddresses,
} from "./metadata-addresses.ts";

/** The addresses of one agent, and how to make them last. */
export interface SavedAddresses {
  addresses: MetadataAddresses;
  /** Makes durable that names have got these addresses. Throws what the file system says; then the next call saves all. */
  save(added: SavedMetadataAddresses): void;
}

/** Where the metadata addresses of interface names are kept. */
export function metadataAddressFile(stateDir: string): string {
  return join(stateDir, "metadata-addresses.json");
}

/** The first line of the file. */
const HEAD = JSON.stringify({ version: 2 });

/** Lines that may be added before the file is written anew: so many, or as many as it had then. */
const MIN_ADDED = 1024;

/**
 * Opens the saved addresses of a pool. Throws `AgentError` where the file is damaged: guests' addresses must not change unnoticed.
 */
export function openMetadataAddresses(stateDir: string, pool: string): SavedAddresses {
  const file = metadataAddressFile(stateDir);
  const addresses = createMetadataAddresses(pool, load(file));
  /** Lines that may be added to the file as it is: none before it was written once, or after that failed, since its last line may be cut short. */
  let room = 0;
  return {
    addresses,
    save(entries) {
      const left = room - entries.length;
      room = 0;
      // Somebody may have deleted the file: one without its first line would stop the next start.
      if (left >= 0 && existsSync(file)) {
        append(file, entries.map(formatEntry).join(""));
        room = left;
      } else {
        const all = addresses.toSave();
        writeFileAtomically(file, `${HEAD}\n${all.map(formatEntry).join("")}`);
        room = Math.max(MIN_ADDED, all.length);
      }
    },
  };
}

function load(file: string): SavedMetadataAddresses {
  const text = readFileIfThere(file);
  if (text === undefined) return [];
  try {
    return parseSaved(text);
  } catch (error) {
    throw new AgentError(
      `${file} is damaged (${messageOf(error)}); delete it: running interfaces keep their metadata addresses, others may get new ones`,
    );
  }
}

function append(path: string, text: string): void {
  const file = openSync(path, "a", 0o600);
  try {
    writeFileSync(file, text);
    fdatasyncSync(file);
  } finally {
    closeSync(file);
  }
}

function formatEntry({ name, address }: SavedMetadataAddresses[number]): string {
  return `${JSON.stringify({ name, address })}\n`;
}

/**
 * Reads the text of the file: of each name and each address what the last line says, in that order. A last line without its end is left out: it was
 * cut short before anybody used its address. Throws on anything else.
 */
export function parseSaved(text: string): SavedMetadataAddresses {
  const [head = "", ...lines] = text.split("\n").slice(0, -1);
  if (head !== HEAD) throw new Error("not a list of metadata addresses");
  const names = new Map<string, string>();
  const owners = new Map<string, string>();
  for (const line of lines) {
    const { name, address }: { name?: unknown; address?: unknown } = JSON.parse(line);
    if (typeof name !== "string" || typeof address !== "string")
      throw new Error("an entry without name and address");
    ipv4ToUint32(address);
    const owner = owners.get(address);
    if (owner !== undefined) names.delete(owner);
    owners.delete(names.get(name) ?? "");
    names.delete(name);
    names.set(name, address);
    owners.set(address, name);
  }
  return [...names].map(([name, address]) => ({ name, address }));
}
