import {
  type BodyFraming,
  type Field,
  type HttpError,
  httpError,
  isToken,
  readControls,
  readFields,
} from "./http-syntax.ts";
import { readPath } from "./path.ts";

/** The head of a request. */
export interface RequestHead {
  method: Method;
  /** From its slash on, as `readPath` gives it. */
  path: string;
  /** What follows the first question mark; undefined when there is none. */
  query: string | undefined;
  version: "1.0" | "1.1";
  fields: Field[];
  /** The members of all Connection fields, in lower case. */
  connection: readonly string[];
  /** Never "until-close"; 0 for a request without a body. */
  body: BodyFraming;
  /** Whether the client waits for `100 Continue` before it sends the body. */
  expectsContinue: boolean;
  /** Whether the connection may stay open after the answer. HTTP/1.0 connections never do. */
  keepAlive: boolean;
}

/** The methods of metadata services. */
export type Method = (typeof METHODS)[number];
const METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE"] as const;

const VERSIONS: ReadonlyMap<string, "1.0" | "1.1"> = new Map([
  ["HTTP/1.0", "1.0"],
  ["HTTP/1.1", "1.1"],
]);

/** Most bytes in a request's target. */
export const MAX_TARGET = 8192;

/** What may stand in a path and query: printable ASCII without the fragment mark, and without the backslash that some take for a slash. */
const TARGET = /^\/[!"$-[\]-~]*$/;
/** `host` or `host:port`; empty where the URI has no authority (RFC 9112 s. 3.2). */
const HOST = /^([\w.~%!$&'()*+,;=-]*|\[[\da-f:.]+\])(:\d{0,5})?$/i;

/** Reads a request's head, all of it up to and with its empty line. Forbidden characters have been looked for. */
export function readRequestHead(text: string): RequestHead | HttpError {
  const lineEnd = text.indexOf("\r\n");
  const [first, last] = [text.indexOf(" "), text.lastIndexOf(" ", lineEnd)];
  if (first < 0 || last > lineEnd || first === last) return httpError("no HTTP/1 request line");
  const [method, target] = [text.slice(0, first), text.slice(first + 1, last)];
  if (!isToken(method)) return httpError("a method that is no token");
  const protocol = text.slice(last + 1, lineEnd);
  const version = VERSIONS.get(protocol);
  if (version === undefined) return wrongVersion(protocol);
  if (!isMethod(method)) return httpError("a method other than GET, HEAD, POST, PUT and DELETE", 501);
  if (target.length > MAX_TARGET) return httpError(`a target of more than ${MAX_TARGET} bytes`, 414);
  const origin = originForm(target);
  if (typeof origin !== "string") return origin;
  const question = origin.indexOf("?");
  const path = readPath(question < 0 ? origin : origin.slice(0, question));
  if (typeof path !== "string") return path;

  const fields = readFields(text, lineEnd + 2, text.length - 2);
  if (!Array.isArray(fields)) return fields;
  const controls = readControls(fields);
  if ("reason" in controls) return controls;
  const { framing: body = 0, connection, hosts, expects } = controls;
  if (hosts.length > 1 || (hosts.length === 0 && version === "1.1")) {
    return httpError(hosts.length === 0 ? "no Host" : "more than one Host");
  }
  if (hosts.length > 0 && !HOST.test(hosts[0]!)) return httpError("a Host that is none");
  if (version === "1.0" && body === "chunked") return httpError("chunked in HTTP/1.0");
  if (expects.some((value) => value.toLowerCase() !== "100-continue")) {
    return httpError("an expectation other than 100-continue", 417);
  }
  return {
    method,
    path,
    query: question < 0 ? undefined : origin.slice(question + 1),
    version,
    fields,
    connection,
    body,
    // RFC 9110 s. 10.1.1: not in HTTP/1.0, and not without a body.
    expectsContinue: expects.length > 0 && version === "1.1" && body !== 0,
    keepAlive: version === "1.1" && !connection.includes("close"),
  };
}

function wrongVersion(protocol: string): HttpError {
  // RFC 9112 s. 2.3: in capitals, a digit on either side of the point.
  return /^HTTP\/\d\.\d$/.test(protocol)
    ? httpError("a version other than HTTP/1.0 and HTTP/1.1", 505)
    : httpError("a request line that does not end with a version of HTTP");
}

/** What a request is refused with whose head is too long, by its beginning. */
export function tooLong(text: string): HttpError {
  return text.includes("\r\n")
    ? httpError("a head of too many bytes", 431)
    : httpError(`a target of more than ${MAX_TARGET} bytes`, 414);
}

/** Path and query of a target in origin or absolute form (RFC 9112 s. 3.2); the others go with methods that we do not have. */
function originForm(target: string): string | HttpError {
  let origin = target;
  if (!target.startsWith("/")) {
    const [, authority, rest] = /^http:\/\/([^/?]*)(.*)$/i.exec(target) ?? [];
    if (authority === undefined || authority === "" || !HOST.test(authority)) {
      return httpError("a target that is neither a path nor an http URL");
    }
    origin = rest!.startsWith("/") ? rest! : `/${rest}`;
  }
  if (!TARGET.test(origin)) return httpError("a target with characters that no URL has");
  return origin;
}

function isMethod(method: string): method is Method {
  return (METHODS as readonly string[]).includes(method);
}
