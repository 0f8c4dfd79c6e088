import { join } from "node:path";
import type { Logger } from "pino";
import {
  findSizeFault,
  type GuestMetadata,
  guestMetadataSchema,
  type Json,
} from "../config/guest-metadata.ts";
import { formatPath } from "../config/load.ts";
import { type FieldError, formatFieldErrors } from "../config/registration.ts";
import type { GuestMetadataSource } from "../metadata/builtin.ts";
import { mergePatch } from "../metadata/json.ts";
import { GUEST_KEY, guestKey } from "./guest-key.ts";
import { openJsonFolder } from "./json-folder.ts";
import { followMetadataDirectory, type MetadataDirectory } from "./metadata-directory.ts";

/** What is wrong with metadata that was sent. */
export class MetadataError extends Error {
  override readonly name = "MetadataError";
  readonly errors: readonly FieldError[];
  constructor(errors: readonly FieldError[]) {
    super(formatFieldErrors(errors));
    this.errors = errors;
  }
}

/**
 * What is said about guests for the builtin store. One document counts for a guest, whole: one that was set over the API, else one of the
 * directory, else the one of the configuration or registration; the first two by instance id before interface name.
 */
export interface MetadataDocuments extends GuestMetadataSource {
  /** The document that counts for a key: an interface name or an instance id. */
  get(key: string): GuestMetadata | undefined;
  /** Sets a key's document. Throws `MetadataError`, and whatever keeps it from being saved; then nothing has changed. */
  set(key: string, content: unknown): void;
  /** Sets the one that counts for a key, with a JSON merge patch applied (RFC 7396). Throws like `set`. */
  patch(key: string, patch: unknown): void;
  /** Removes what was set; says whether there was anything. */
  remove(key: string): boolean;
  /** Takes another directory, or none. */
  configure(directory: string | undefined): void;
  /** What is wrong with the directory and its files now. */
  problems(): string[];
  close(): void;
}

/** What `openMetadataDocuments` needs. */
export interface MetadataDocumentsOptions {
  stateDir: string;
  directory: string | undefined;
  /** What the configuration or a registration says for a key. */
  configured: (key: string) => GuestMetadata | undefined;
  log: Logger;
}

/** Where the documents are kept that were set over the API. */
export function metadataDocumentsDir(stateDir: string): string {
  return join(stateDir, "metadata");
}

/** Reads what was set in earlier runs, and follows the directory. Files that are damaged are left out, and logged. */
export function openMetadataDocuments(options: MetadataDocumentsOptions): MetadataDocuments {
  const { stateDir, configured, log } = options;
  const { folder, contents } = openJsonFolder(
    metadataDocumentsDir(stateDir),
    (_key, content) => parse(content),
    log,
  );
  let version = 0;
  const changed = () => {
    version++;
  };
  let path: string | undefined;
  let directory: MetadataDirectory | undefined;
  configure(options.directory);

  function configure(next: string | undefined): void {
    // The configuration has changed, and with it what it says about guests.
    changed();
    if (next === path) return;
    directory?.close();
    path = next;
    directory = next === undefined ? undefined : followMetadataDirectory(next, log, changed);
  }

  function get(key: string): GuestMetadata | undefined {
    const known = guestKey(key);
    if (known === undefined) return undefined;
    return contents.get(known) ?? directory?.get(known) ?? configured(known);
  }

  function set(key: string, content: unknown): void {
    const known = checkKey(key);
    const metadata = parse(content);
    folder.write(known, metadata);
    contents.set(known, metadata);
    changed();
  }

  return {
    version: () => version,
    of({ interface: name, instanceId: id, metadata }) {
      const by = (from: { get(key: string): GuestMetadata | undefined } | undefined) =>
        (id === undefined ? undefined : from?.get(id)) ?? from?.get(name);
      return by(contents) ?? by(directory) ?? metadata;
    },
    get,
    set,
    patch(key, patch) {
      const fault = findSizeFault(patch);
      if (fault !== undefined) throw new MetadataError([{ field: "", message: fault }]);
      set(key, mergePatch((get(key) ?? {}) as Json, patch as Json));
    },
    remove(key) {
      const known = checkKey(key);
      const wasThere = folder.remove(known);
      contents.delete(known);
      changed();
      return wasThere;
    },
    configure,
    problems: () => directory?.problems() ?? [],
    close: () => directory?.close(),
  };
}

function checkKey(text: string): string {
  const key = guestKey(text);
  if (key !== undefined) return key;
  throw new MetadataError([{ field: "", message: `${JSON.stringify(text)} is not ${GUEST_KEY}` }]);
}

function parse(content: unknown): GuestMetadata {
  const parsed = guestMetadataSchema.safeParse(content);
  if (parsed.success) return parsed.data;
  throw new MetadataError(
    parsed.error.issues.map(({ path, message }) => ({ field: formatPath(path), message })),
  );
}
