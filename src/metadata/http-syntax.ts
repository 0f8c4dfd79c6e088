/*
 * What requests and responses of HTTP/1.1 (RFC 9112) share: fields and the framing of bodies, read strictly. Where the RFC lets a
 * recipient repair a message, this refuses it: what two parties read differently is how requests are smuggled.
 *
 * Heads are handled as text in which each character is one byte (latin1).
 */

/** Why a message cannot be taken. */
export interface HttpError {
  /** What a guest is answered. */
  status: number;
  /** For people. It holds no part of the message. */
  reason: string;
}

/** A field of a head; the value is without the white space around it. */
export interface Field {
  /** As it was sent. */
  name: string;
  /** In lower case. */
  lower: string;
  value: string;
}

/** How long a body is: so many bytes, in chunks, or (responses only) until the connection is closed. */
export type BodyFraming = number | "chunked" | "until-close";

/** Most fields in a head. */
export const MAX_FIELDS = 100;

/** Control characters, and line ends other than CRLF (RFC 9112 s. 2.2). */
// biome-ignore lint/suspicious/noControlCharactersInRegex: those are what it is about
const FORBIDDEN = /[\0-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)|(?<!\r)\n/;
/** RFC 9110 s. 5.6.2. */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/** Whether a part of a head has a character or line end that no head may have. */
export function hasForbidden(text: string): boolean {
  return FORBIDDEN.test(text);
}

/** Whether the text is a token (RFC 9110 s. 5.6.2), such as the name of a method or a field. */
export function isToken(text: string): boolean {
  return TOKEN.test(text);
}

/** An error with status 400 unless another is given. */
export function httpError(reason: string, status = 400): HttpError {
  return { status, reason };
}

/** Reads lines of fields, each ended by CRLF, from `from` up to the end of the text (RFC 9112 s. 5). Line folding is refused. */
export function readFields(text: string, from: number): Field[] | HttpError {
  const fields: Field[] = [];
  for (let start = from; start < text.length; ) {
    const end = text.indexOf("\r\n", start);
    const colon = text.indexOf(":", start);
    if (colon < 0 || colon > end) return httpError("a line of the head has no colon");
    const name = text.slice(start, colon);
    if (!TOKEN.test(name)) return httpError("a field has a name that is no token");
    if (fields.length === MAX_FIELDS) return httpError(`more than ${MAX_FIELDS} fields`, 431);
    fields.push({ name, lower: name.toLowerCase(), value: trim(text, colon + 1, end) });
    start = end + 2;
  }
  return fields;
}

/** Without spaces and tabs at both ends. */
function trim(text: string, from: number, to: number): string {
  let start = from;
  let end = to;
  while (start < end && isBlank(text.charCodeAt(start))) start += 1;
  while (end > start && isBlank(text.charCodeAt(end - 1))) end -= 1;
  return text.slice(start, end);
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09;
}

/**
 * The framing that Content-Length and Transfer-Encoding give (RFC 9112 s. 6); undefined when there is neither. Refused: both together, either
 * twice (equal ones too), a length that is not digits alone, and any coding but chunked (501).
 */
export function readFraming(fields: readonly Field[]): BodyFraming | undefined | HttpError {
  let framing: BodyFraming | undefined;
  for (const { lower, value } of fields) {
    const isLength = lower === "content-length";
    if (!isLength && lower !== "transfer-encoding") continue;
    if (framing !== undefined) return httpError("more than one Content-Length or Transfer-Encoding");
    if (isLength) {
      // Fifteen digits are below 2^53.
      if (!/^\d{1,15}$/.test(value)) return httpError("a Content-Length that is no number");
      framing = Number(value);
    } else {
      if (value.toLowerCase() !== "chunked") return httpError("a transfer coding other than chunked", 501);
      framing = "chunked";
    }
  }
  return framing;
}

/** Whether a list of tokens, in all fields of this name, has the token; all in lower case. */
export function listHas(fields: readonly Field[], name: string, token: string): boolean {
  return fields.some(({ lower, value }) => lower === name && splitList(value).includes(token));
}

/** The members of a comma-separated list, in lower case. */
export function splitList(value: string): string[] {
  return value
    .toLowerCase()
    .split(",")
    .map((member) => member.trim());
}
