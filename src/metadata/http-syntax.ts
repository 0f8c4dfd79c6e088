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

/** A field of a head. */
export interface Field {
  /** The name in lower case. */
  lower: string;
  /** Without the white space around it. */
  value: string;
  /** The whole line as it was sent, with its CRLF: what is passed on is not put together anew. */
  line: string;
}

/** How long a body is: so many bytes, in chunks, or (responses only) until the connection is closed. */
export type BodyFraming = number | "chunked" | "until-close";

/** Most fields in a head. */
export const MAX_FIELDS = 100;

/** What each byte is in a name: no part of a token (RFC 9110 s. 5.6.2), a part, or a capital letter. */
const [NOT_TOKEN, TOKEN, CAPITAL] = [0, 1, 2];
const NAME_BYTES = Uint8Array.from({ length: 256 }, (_, code) => {
  const character = String.fromCharCode(code);
  if (/[A-Z]/.test(character)) return CAPITAL;
  return /[!#$%&'*+.^_`|~0-9a-z-]/.test(character) ? TOKEN : NOT_TOKEN;
});

const FORBIDDEN = /[^\t\r\n\x20-\x7e\x80-\xff]/;
const LONE_LINE_END = /[^\r]\n|\r(?!\n)|^\n/;

/** Whether a part of a head has a control character, or a line end other than CRLF (RFC 9112 s. 2.2). */
export function hasForbidden(text: string): boolean {
  return FORBIDDEN.test(text) || LONE_LINE_END.test(text);
}

const [TAB, SPACE] = [0x09, 0x20];

/** Whether the text is a token (RFC 9110 s. 5.6.2), such as the name of a method. */
export function isToken(text: string): boolean {
  return text.length > 0 && kindOfName(text) !== NOT_TOKEN;
}

/** The greatest kind among the characters of a name, or `NOT_TOKEN` when one is no part of a token. */
function kindOfName(name: string): number {
  let kind = TOKEN;
  for (let at = 0; at < name.length; at++) {
    const one = NAME_BYTES[name.charCodeAt(at)];
    if (one === NOT_TOKEN) return NOT_TOKEN;
    if (one === CAPITAL) kind = CAPITAL;
  }
  return kind;
}

/** An error with status 400 unless another is given. */
export function httpError(reason: string, status = 400): HttpError {
  return { status, reason };
}

/** Reads lines of fields, each ended by CRLF, from `from` up to `to` (RFC 9112 s. 5). Line folding is refused. */
export function readFields(text: string, from: number, to: number): Field[] | HttpError {
  const fields: Field[] = [];
  for (let start = from; start < to; ) {
    const end = text.indexOf("\r\n", start);
    const colon = text.indexOf(":", start);
    if (colon < 0 || colon > end) return httpError("a line of the head has no colon");
    const name = text.slice(start, colon);
    const kind = kindOfName(name);
    if (name === "" || kind === NOT_TOKEN) return httpError("a field has a name that is no token");
    if (fields.length === MAX_FIELDS) return httpError(`more than ${MAX_FIELDS} fields`, 431);
    fields.push({
      lower: kind === CAPITAL ? name.toLowerCase() : name,
      value: trim(text, colon + 1, end),
      line: text.slice(start, end + 2),
    });
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
  return code === SPACE || code === TAB;
}

/** The fields that say how a message is framed and what becomes of its connection. */
export interface Controls {
  /** Undefined when there is neither Content-Length nor Transfer-Encoding. */
  framing: BodyFraming | undefined;
  /** The members of all Connection fields, in lower case. */
  connection: readonly string[];
  /** The values of all Host and Expect fields. */
  hosts: readonly string[];
  expects: readonly string[];
}

const NONE: readonly string[] = [];

/**
 * Reads the controls (RFC 9112 s. 6). Refused: Content-Length and Transfer-Encoding together, either twice (equal ones too), a length that
 * is not digits alone, and any transfer coding but chunked (501).
 */
export function readControls(fields: readonly Field[]): Controls | HttpError {
  let framing: BodyFraming | undefined;
  let [connection, hosts, expects] = [NONE, NONE, NONE];
  for (const { lower, value } of fields) {
    switch (lower) {
      case "content-length":
      case "transfer-encoding": {
        if (framing !== undefined) return httpError("more than one Content-Length or Transfer-Encoding");
        const read = lower === "content-length" ? readLength(value) : readCoding(value);
        if (typeof read === "object") return read;
        framing = read;
        break;
      }
      case "connection":
        connection = [...connection, ...splitList(value)];
        break;
      case "host":
        hosts = [...hosts, value];
        break;
      case "expect":
        expects = [...expects, value];
        break;
    }
  }
  return { framing, connection, hosts, expects };
}

/** Fifteen digits are below 2^53. */
function readLength(value: string): number | HttpError {
  return /^\d{1,15}$/.test(value) ? Number(value) : httpError("a Content-Length that is no number");
}

function readCoding(value: string): "chunked" | HttpError {
  if (value.toLowerCase() === "chunked") return "chunked";
  return httpError("a transfer coding other than chunked", 501);
}

/** The members of a comma-separated list, in lower case. */
function splitList(value: string): string[] {
  return value
    .toLowerCase()
    .split(",")
    .map((member) => member.trim());
}

/** A text as latin1, in memory of its own: that of `Buffer.from` is shared with others, and stays as long as any of them. */
export function latin1Bytes(text: string): Buffer {
  const bytes = Buffer.allocUnsafeSlow(text.length);
  bytes.write(text, "latin1");
  return bytes;
}
