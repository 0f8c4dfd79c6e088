import type { Json, JsonObject } from "../config/guest-metadata.ts";
import { textAnswer } from "./answer.ts";
import { isObject } from "./json.ts";
import type { MetadataResponse } from "./types.ts";

/** What is at one path of a tree. */
export interface TreeEntry {
  /** As EC2 gives it: a value as text, a directory as the list of what is in it. */
  asText: MetadataResponse;
  /** As JSON, the way Firecracker's MMDS gives it to those who accept JSON. Made when it is first asked for. */
  asJson(): MetadataResponse;
}

/** How one kind of tree differs from others. */
export interface TreeStyle {
  /** Whether the map at this path is a document, given as JSON, rather than a directory. */
  isDocument(path: string): boolean;
  /** The line for a name in the listing of the directory at `path`, where it is not the name itself. */
  listAs?(path: string, name: string): string | undefined;
}

/**
 * All that guests can ask for in a tree, by path: names joined by slashes, empty for the tree itself. Answers are made once, so that a
 * request costs a look into a map, whose keys are only keys, whatever they are.
 */
export function renderTree(tree: JsonObject, style: TreeStyle): Map<string, TreeEntry> {
  const entries = new Map<string, TreeEntry>();
  const isDirectory = (path: string, value: Json): value is JsonObject =>
    isObject(value) && !style.isDocument(path);

  function add(path: string, value: Json): void {
    if (value === null) return;
    entries.set(path, treeEntry(isDirectory(path, value) ? list(path, value) : textOf(value), value));
    if (!isDirectory(path, value)) return;
    for (const [name, child] of Object.entries(value)) add(join(path, name), child);
  }

  function list(path: string, directory: JsonObject): string {
    return Object.entries(directory)
      .filter(([, child]) => child !== null)
      .map(
        ([name, child]) =>
          style.listAs?.(path, name) ?? (isDirectory(join(path, name), child) ? `${name}/` : name),
      )
      .join("\n");
  }

  add("", tree);
  return entries;
}

/** What answers with this text and this value. */
export function treeEntry(text: string, value: Json): TreeEntry {
  let json: MetadataResponse | undefined;
  return {
    asText: textAnswer(200, text),
    asJson() {
      json ??= jsonAnswer(value);
      return json;
    },
  };
}

/** A value as an answer in JSON. */
export function jsonAnswer(value: Json): MetadataResponse {
  return { status: 200, headers: [["Content-Type", "application/json"]], body: JSON.stringify(value) };
}

/** Whether JSON is asked for by name: most clients accept anything, and want text. */
export function acceptsJson(accept: string | undefined): boolean {
  return accept !== undefined && /(^|[,\s])application\/json\s*($|[;,])/i.test(accept);
}

function textOf(value: Json): string {
  if (typeof value === "string") return value;
  if (Array.isArray(value) && value.every((item) => typeof item !== "object")) return value.join("\n");
  return isObject(value) || Array.isArray(value) ? JSON.stringify(value, null, 2) : String(value);
}

function join(path: string, name: string): string {
  return path === "" ? name : `${path}/${name}`;
}
