import { posix } from "node:path";
import * as z from "zod";
import { parseDuration } from "./duration.ts";
import { suggest } from "./suggest.ts";

/* Kinds of values that the fields of a configuration have, and how their errors are worded. */

/** `params` of an issue that is about a field's name rather than its value. */
export const ABOUT_FIELD_NAME = { about: "field name" } as const;

/** `input` as an error message quotes it: a map only by kind, all else in full up to a length that fits one line. */
export function show(input: unknown): string {
  const quoted = quote(input);
  return quoted.length <= 60 ? quoted : `${quoted.slice(0, 57)}...`;
}

function quote(input: unknown): string {
  if (typeof input === "string") return JSON.stringify(input);
  // Not nested: an alias can make a list hold itself.
  if (Array.isArray(input))
    return `[${input.map((item) => (Array.isArray(item) ? "[...]" : quote(item))).join(", ")}]`;
  return typeof input === "object" && input !== null ? "this map" : String(input);
}

/** Says that `input` is missing, left empty, or not `noun`. */
export function wrong(input: unknown, noun: string, expected: string): string {
  if (input === undefined) return `missing; expected ${noun}, ${expected}`;
  if (input === null) return `empty; expected ${noun}, ${expected}`;
  return `${show(input)} is not ${noun}; expected ${expected}`;
}

/** A value that `parse` turns into what the configuration holds, or undefined when it is not `noun`. */
export function value<T>(noun: string, expected: string, parse: (input: unknown) => T | undefined) {
  return z.unknown().transform((input, context): T => {
    const parsed = parse(input);
    if (parsed !== undefined) return parsed;
    context.addIssue(wrong(input, noun, expected));
    return z.NEVER;
  });
}

/** Like `value`, of a text. */
export function text<T>(noun: string, expected: string, parse: (input: string) => T | undefined) {
  return value(noun, expected, (input) => (typeof input === "string" ? parse(input) : undefined));
}

/** A whole number within bounds, both included. */
export function integer(noun: string, least: number, most: number) {
  return value(noun, `${least}-${most}`, (input) => (isWithin(input, least, most) ? input : undefined));
}

/** A duration between two others, both included, in ms. */
export function duration(least: string, most: string) {
  const [min, max] = [parseDuration(least)!, parseDuration(most)!];
  return text("a duration", `${least}-${most}, written like 500ms, 5s or 1m`, (input) => {
    const ms = parseDuration(input);
    return isWithin(ms, min, max) ? ms : undefined;
  });
}

/** One of some words; there are two or more. */
export function choice<const Word extends string>(noun: string, words: readonly Word[]) {
  const expected = `${words.slice(0, -1).join(", ")} or ${words.at(-1)}`;
  return value(noun, expected, (input) => words.find((word) => word === input));
}

/** A path from the root, in bytes at most this long. */
export function absolutePath(maxBytes: number) {
  return text(`an absolute path of at most ${maxBytes} bytes`, "one like /run/onlink", (path) =>
    isAbsolutePath(path, maxBytes) ? path : undefined,
  );
}

/** A place for files of our own, which the kernel's filesystems do not take; normalised, since it is compared. */
export function directory(maxBytes: number) {
  return text(
    `an absolute path of at most ${maxBytes} bytes`,
    "one like /run/onlink, not under /proc or /sys",
    (path) => {
      if (!isAbsolutePath(path, maxBytes)) return undefined;
      const resolved = posix.resolve(path);
      return /^\/(proc|sys)(\/|$)/.test(resolved) ? undefined : resolved;
    },
  );
}

function isAbsolutePath(path: string, maxBytes: number): boolean {
  return path.startsWith("/") && !path.includes("\0") && Buffer.byteLength(path) <= maxBytes;
}

/** A list of one or more. */
export function list<T extends z.ZodType>(expected: string, item: T) {
  return z
    .array(item, { error: (issue) => wrong(issue.input, "a list", expected) })
    .min(1, { error: `an empty list; expected ${expected}` });
}

/** A map with the fields of `shape` and no others; each field it does not know is an issue of its own. */
export function section<Shape extends z.ZodRawShape>(shape: Shape) {
  const known = Object.keys(shape);
  const unknown = z.custom(() => false, {
    error: (issue) => unknownField(issue.path ?? [], known),
    params: ABOUT_FIELD_NAME,
  });
  const schema = z
    .object(shape, { error: (issue) => wrong(issue.input, "a map", `the fields ${known.join(", ")}`) })
    .catchall(unknown);
  // Nothing outside the shape gets past `unknown`, so the output has the fields of the shape alone.
  return schema as unknown as z.ZodObject<Shape, z.core.$strip>;
}

function unknownField(path: readonly PropertyKey[], known: readonly string[]): string {
  const name = String(path.at(-1));
  const meant = suggest(name, known);
  const hint = meant === undefined ? "" : ` did you mean ${show(meant)}?`;
  return `unknown field ${show(name)};${hint} known here: ${known.join(", ")}`;
}

/** Whether the value is a whole number within bounds, both included. */
export function isWithin(input: unknown, least: number, most: number): input is number {
  return Number.isInteger(input) && (input as number) >= least && (input as number) <= most;
}
