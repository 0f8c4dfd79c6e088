import {
  type Document,
  isAlias,
  isMap,
  isNode,
  isScalar,
  isSeq,
  LineCounter,
  parseDocument,
  visit,
  type YAMLError,
} from "yaml";
import type * as z from "zod";
import { ABOUT_FIELD_NAME } from "./fields.ts";
import { readJson } from "./json-text.ts";
import { readRegularFile } from "./read-file.ts";
import { type Breach, findBreaches, type Path, type Place } from "./rules.ts";
import { type Config, configSchema } from "./schema.ts";

/** One thing that is wrong in a configuration file. */
export interface ConfigError {
  /** The file's name as given. */
  file: string;
  /** 1-based; both 0 when the file could not be read at all. */
  line: number;
  column: number;
  /** The field, such as `services[1].port`; empty when it is the file as a whole. */
  path: string;
  /** The value found there; undefined when there is none. */
  found: unknown;
  /** What is wrong and what would be right. */
  message: string;
}

/** A configuration, or everything that is wrong with the file, in the order of its lines. */
export type ConfigResult = { ok: true; config: Config } | { ok: false; errors: ConfigError[] };

/** How often aliases may be followed, so that a small file cannot unfold into a large one ("billion laughs"). */
const MAX_ALIASES = 100;

/** Parses the text of a configuration file, YAML or JSON. `file` names it in errors. Never throws. */
export function parseConfig(text: string, file: string): ConfigResult {
  const parsed = parseFile(text, file, configSchema, findBreaches);
  return parsed.ok ? { ok: true, config: parsed.value } : parsed;
}

/** What a file holds, or everything that is wrong with it, in the order of its lines. */
export type FileResult<T> = { ok: true; value: T } | { ok: false; errors: ConfigError[] };

/** Parses a text, YAML or JSON, by a schema and the rules between its values. `file` names it in errors. Never throws. */
export function parseFile<T>(
  text: string,
  file: string,
  schema: z.ZodType<T>,
  breachesOf: (content: unknown, place: Place, value: T | undefined) => Breach[] = () => [],
): FileResult<T> {
  const json = readJson(text);
  if (json !== undefined) {
    const parsed = schema.safeParse(json.content);
    if (parsed.success && breachesOf(json.content, formatPath, parsed.data).length === 0)
      return { ok: true, value: parsed.data };
  }

  // Anything else, JSON with errors in it too, is read with the place of each value.
  const source = readYaml(text, file);
  if (!source.ok) return source;
  const { document, lines, content } = source;

  const errorAt = (path: Path, about: "value" | "name", message: string): ConfigError => {
    const { line, col } = lines.linePos(offsetOf(document, path, about));
    return { file, line, column: col, path: formatPath(path), found: valueAt(content, path), message };
  };
  const place = (path: Path) =>
    `${formatPath(path)} (line ${lines.linePos(offsetOf(document, path, "value")).line})`;

  const parsed = schema.safeParse(content);
  const issues = parsed.success ? [] : parsed.error.issues;
  const errors = [
    ...issues.map((issue) =>
      errorAt(
        issue.path,
        issue.code === "custom" && issue.params === ABOUT_FIELD_NAME ? "name" : "value",
        issue.message,
      ),
    ),
    ...breachesOf(content, place, parsed.data).map(({ path, message }) => errorAt(path, "value", message)),
  ];
  if (parsed.success && errors.length === 0) return { ok: true, value: parsed.data };
  return { ok: false, errors: errors.sort((a, b) => a.line - b.line || a.column - b.column) };
}

/** Reads and parses a configuration file. Never throws: a file that cannot be read is an error like the others. */
export function loadConfig(file: string): ConfigResult {
  let text: string;
  try {
    text = readRegularFile(file);
  } catch (error) {
    const message = `cannot be read: ${(error as Error).message}`;
    return { ok: false, errors: [{ file, line: 0, column: 0, path: "", found: undefined, message }] };
  }
  return parseConfig(text, file);
}

/** The error as one line: `onlink.yaml:7:11: services[1].port: 70000 is not a port; expected 1-65535`. */
export function formatConfigError({ file, line, column, path, message }: ConfigError): string {
  const where = line === 0 ? file : `${file}:${line}:${column}`;
  return path === "" ? `${where}: ${message}` : `${where}: ${path}: ${message}`;
}

type Source =
  | { ok: true; document: Document; lines: LineCounter; content: unknown }
  | { ok: false; errors: ConfigError[] };

/** One YAML document as plain values. Its own errors come first: with them, the values cannot be trusted. */
function readYaml(text: string, file: string): Source {
  const lines = new LineCounter();
  const errorAt = (offset: number, message: string): ConfigError => {
    const { line, col } = lines.linePos(offset);
    return { file, line, column: col, path: "", found: undefined, message };
  };
  try {
    const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, logLevel: "error" });
    const errors = [...document.errors, ...document.warnings]
      // A slip in the syntax throws the parser off, so what follows the first is noise.
      .filter(({ code }, index) => index === 0 || code === "DUPLICATE_KEY")
      .map((error) => errorAt(error.pos[0], yamlMessage(error, text)));
    if (errors.length > 0) return { ok: false, errors };
    const lost = text.includes("*") ? findAliasWithoutAnchor(document) : undefined;
    if (lost !== undefined) return { ok: false, errors: [errorAt(lost, NO_ANCHOR)] };
    return { ok: true, document, lines, content: document.toJS({ maxAliasCount: MAX_ALIASES }) };
  } catch (error) {
    // Too many aliases, or nesting too deep for the stack.
    const message = `cannot be read as YAML: ${unquoted((error as Error).message)}`;
    return { ok: false, errors: [{ file, line: 1, column: 1, path: "", found: undefined, message }] };
  }
}

const NO_ANCHOR =
  "an alias (after *) without its anchor (after &) before it; a text that begins with * needs quotes";

/** Where the first alias begins whose anchor does not come before it. */
function findAliasWithoutAnchor(document: Document): number | undefined {
  const anchors = new Set<string>();
  let offset: number | undefined;
  visit(document, (_, node) => {
    if (isAlias(node) && !anchors.has(node.source)) {
      offset = startOf(node);
      return visit.BREAK;
    }
    if (isNode(node) && !isAlias(node) && node.anchor !== undefined) anchors.add(node.anchor);
    return undefined;
  });
  return offset;
}

/** A message of the YAML library without what it quotes of the text behind a colon: there may be secrets in it. */
function unquoted(message: string): string {
  return message.replace(/: .*$/s, "");
}

function yamlMessage({ code, message, pos: [offset] }: YAMLError, text: string): string {
  if (code === "MULTIPLE_DOCS") return "a second document begins here; expected one document in the file";
  if (code === "DUPLICATE_KEY") {
    const [name = "this field"] = /^[^\s:,]+/.exec(text.slice(offset, offset + 60)) ?? [];
    return `${name} is given twice; expected it once`;
  }
  return `not YAML: ${unquoted(message)}`;
}

/** Where the value at `path`, or the name of that field, begins; where there is none, its nearest parent. */
function offsetOf(document: Document, path: Path, about: "value" | "name"): number {
  let node: unknown = document.contents;
  let offset = startOf(node) ?? 0;
  for (const [depth, part] of path.entries()) {
    const parent = isAlias(node) ? node.resolve(document) : node;
    if (isMap(parent)) {
      const pair = parent.items.find(({ key }) => isScalar(key) && String(key.value) === part);
      if (pair === undefined) break;
      const name = startOf(pair.key);
      const isLast = depth === path.length - 1;
      offset = (isLast && about === "name" ? name : (startOf(pair.value) ?? name)) ?? offset;
      node = pair.value;
    } else if (isSeq(parent) && typeof part === "number") {
      node = parent.items[part];
      offset = startOf(node) ?? offset;
    } else {
      break;
    }
  }
  return offset;
}

function startOf(node: unknown): number | undefined {
  return isNode(node) ? node.range?.[0] : undefined;
}

function valueAt(content: unknown, path: Path): unknown {
  return path.reduce<unknown>(
    (value, part) =>
      typeof value === "object" && value !== null && Object.hasOwn(value, part)
        ? (value as Record<PropertyKey, unknown>)[part]
        : undefined,
    content,
  );
}

/** The field at a path, such as `services[1].port`. */
export function formatPath(path: Path): string {
  return path.reduce<string>((text, part) => {
    if (typeof part === "number") return `${text}[${part}]`;
    // A name can hold anything, line breaks too; an error is one line.
    const name = /^[\w-]+$/.test(String(part)) ? String(part) : JSON.stringify(part);
    return text === "" ? name : `${text}.${name}`;
  }, "");
}
