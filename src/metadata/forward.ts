import type { RequestHead } from "./http-request.ts";
import type { ResponseHead } from "./http-response.ts";
import { type BodyFraming, latin1Bytes } from "./http-syntax.ts";
import { mayPass, mayReturn } from "./identity.ts";

/** What a guest's connection is like, as far as answers depend on it. */
export interface GuestHop {
  version: "1.0" | "1.1";
  method: string;
  /** Whether the connection stays open after the answer. */
  keepAlive: boolean;
}

/** What was last made of a head: a connection's next request is often the same one, and then its head the same object. */
const upstreamHeads = new WeakMap<RequestHead, { host: string; identity: string; bytes: Buffer }>();
const guestHeads = new WeakMap<ResponseHead, GuestHop & { made: GuestHead }>();

/** A head for a guest, and whether its body goes in chunks. */
export interface GuestHead {
  bytes: Buffer;
  chunked: boolean;
}

/**
 * The head that goes to an upstream for a guest's: without what the guest may not say, and with `identity`, lines that say who it is. Host is the
 * upstream's own, so that a guest cannot pick another site there.
 */
export function upstreamHead(head: RequestHead, host: string, identity: string): Buffer {
  const last = upstreamHeads.get(head);
  if (last?.host === host && last.identity === identity) return last.bytes;
  const bytes = latin1Bytes(makeUpstreamHead(head, host, identity));
  upstreamHeads.set(head, { host, identity, bytes });
  return bytes;
}

function makeUpstreamHead(head: RequestHead, host: string, identity: string): string {
  const { method, path, query, body, expectsContinue } = head;
  const target = query === undefined ? path : `${path}?${query}`;
  let lines = `${method} ${target} HTTP/1.1\r\nHost: ${host}\r\n${passed(head, mayPass)}${identity}`;
  if (expectsContinue) lines += "Expect: 100-continue\r\n";
  // RFC 9110 s. 8.6: a method that goes with a body says so when there is none.
  if (body !== 0 || method === "POST" || method === "PUT") lines += framingLine(body);
  return `${lines}\r\n`;
}

/** The head that a guest gets for an upstream's. */
export function guestHead(head: ResponseHead, { version, method, keepAlive }: GuestHop): GuestHead {
  const last = guestHeads.get(head);
  if (last?.version === version && last.method === method && last.keepAlive === keepAlive) return last.made;
  const made = makeGuestHead(head, { version, method, keepAlive });
  // One by one: objects that are made by spreading are slow to look into.
  guestHeads.set(head, { version, method, keepAlive, made });
  return made;
}

function makeGuestHead(head: ResponseHead, hop: GuestHop): GuestHead {
  const { status, phrase, body, contentLength } = head;
  let text = `HTTP/1.1 ${status} ${phrase}\r\n${passed(head, mayReturn)}`;
  const isUnsized = typeof body !== "number";
  const chunked = isUnsized && hop.version === "1.1";
  if (chunked) text += framingLine("chunked");
  // RFC 9110 s. 8.6: 204 has no length.
  else if (contentLength !== undefined && status !== 204) text += framingLine(contentLength);
  if (!hop.keepAlive) text += "Connection: close\r\n";
  return { bytes: latin1Bytes(`${text}\r\n`), chunked };
}

/** An interim response (RFC 9110 s. 15.2) as a guest gets it. */
export function interimHead(head: ResponseHead): string {
  return `HTTP/1.1 ${head.status} ${head.phrase}\r\n${passed(head, mayReturn)}\r\n`;
}

/** The lines of the fields that may pass and are not nominated in Connection for this hop alone (RFC 9110 s. 7.6.1). */
function passed({ fields, connection }: RequestHead | ResponseHead, may: (lower: string) => boolean): string {
  let lines = "";
  for (const { lower, line } of fields) {
    if (may(lower) && (connection.length === 0 || !connection.includes(lower))) lines += line;
  }
  return lines;
}

function framingLine(body: BodyFraming): string {
  return typeof body === "number" ? `Content-Length: ${body}\r\n` : "Transfer-Encoding: chunked\r\n";
}

/** The end of a body in chunks. */
export const LAST_CHUNK = "0\r\n\r\n";

/** What goes before the bytes of a chunk; CRLF goes after them. */
export function chunkLine(bytes: number): string {
  return `${bytes.toString(16)}\r\n`;
}
