import { type HttpError, httpError } from "./http-syntax.ts";

/*
 * The paths of requests, as EC2's metadata service takes them: slashes may be doubled, one may follow the last name, and
 * characters may be percent-encoded.
 *
 * Tokens and the audit go by the names in a path, and an upstream by what it makes of the path. Where the two could differ, a request that
 * needs a token, or is to be audited, could pass for another; so what servers read differently is refused, or sent on in the form that all read alike.
 */

/** What stands for something else once it has been decoded, or decoded once more: separators, control characters, and an encoding within the encoding. */
const AMBIGUOUS = /[/\\\p{Cc}]|%[\da-f]{2}/iu;
/** With parameters (RFC 3986 s. 3.3) too, which some servers take off first. */
const DOT_SEGMENT = /^\.{1,2}(;.*)?$/s;

/**
 * The path of a request as everything after goes by it, and as upstreams get it: no slash is doubled (servers read `//a/b` as a path, or as a
 * host and a path), what is percent-encoded stays so. Refused are dot segments, and encodings (RFC 3986 s. 2.1, 6.2.2) that are wrong, are no UTF-8, or hide a
 * slash, a backslash, a control character or another encoding.
 */
export function readPath(path: string): string | HttpError {
  const isPlain = !path.includes("%") && !path.includes("/.") && !path.includes("//");
  if (isPlain) return path;
  for (const encoded of path.split("/")) {
    const name = decode(encoded);
    if (name === undefined) return httpError("a path with a wrong percent-encoding");
    if (AMBIGUOUS.test(name)) return httpError("a path that encodes what must not be encoded");
    if (DOT_SEGMENT.test(name)) return httpError("a path with dot segments");
  }
  return path.replace(/\/{2,}/g, "/");
}

/**
 * The names in a path, joined by single slashes and without one at the ends: `//latest/meta-data/` is `latest/meta-data`, and `/` is
 * empty. Undefined where the path is not percent-encoded text, or where a name itself holds a slash, which no name of ours does.
 */
export function normalizePath(path: string): string | undefined {
  const isPlain = !path.includes("%") && !path.includes("//");
  if (isPlain) return path.slice(path.startsWith("/") ? 1 : 0, path.endsWith("/") ? -1 : undefined);
  const names: string[] = [];
  for (const encoded of path.split("/")) {
    const name = decode(encoded);
    if (name === undefined || name.includes("/")) return undefined;
    if (name !== "") names.push(name);
  }
  return names.join("/");
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
