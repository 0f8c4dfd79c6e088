import { STATUS_CODES } from "node:http";
import type { GuestHop } from "./forward.ts";
import type { HttpError } from "./http-syntax.ts";
import type { MetadataResponse } from "./types.ts";

/** An answer of our own: the text of its head and the body, unless the request was HEAD. A body that is text is ASCII, as the head is. */
export function localAnswer(
  { status, headers, body }: MetadataResponse,
  { method, keepAlive }: GuestHop,
): { head: string; body: Uint8Array | string } {
  const isAscii = typeof body === "string" && Buffer.byteLength(body) === body.length;
  const bytes = typeof body === "string" && !isAscii ? Buffer.from(body) : body;
  let head = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ""}\r\nDate: ${date()}\r\n`;
  for (const [name, value] of headers) head += `${name}: ${value}\r\n`;
  head += `Content-Length: ${bytes.length}\r\n`;
  if (!keepAlive) head += "Connection: close\r\n";
  return { head: `${head}\r\n`, body: method === "HEAD" ? "" : bytes };
}

/** An error as a guest gets it, in a line of text. */
export function errorResponse({ status, reason }: HttpError): MetadataResponse {
  const headers: Array<[string, string]> = [["Content-Type", "text/plain"]];
  if (status === 429 || status === 503) headers.push(["Retry-After", "1"]);
  return { status, headers, body: `${reason}\n` };
}

let dateSecond = 0;
let dateText = "";

/** The time as Date has it (RFC 9110 s. 5.6.7), made once a second. */
function date(): string {
  const second = Math.floor(Date.now() / 1000);
  if (second !== dateSecond) {
    dateSecond = second;
    dateText = new Date(second * 1000).toUTCString();
  }
  return dateText;
}
