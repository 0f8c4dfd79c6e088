import {
  type BodyFraming,
  type Field,
  type HttpError,
  httpError,
  readControls,
  readFields,
} from "./http-syntax.ts";

/** The head of a response. */
export interface ResponseHead {
  /** 100-599. 1xx: another head follows. */
  status: number;
  /** The reason phrase; may be empty. */
  phrase: string;
  fields: Field[];
  /** The members of all Connection fields, in lower case. */
  connection: readonly string[];
  body: BodyFraming;
  /** Content-Length where it was sent, as to HEAD, whether a body follows or not. */
  contentLength: number | undefined;
  /** Whether the connection may be used again after the body: it is certain where the next answer begins. */
  keepAlive: boolean;
}

const STATUS_LINE = /^HTTP\/1\.([01]) ([1-5]\d\d)(?: ([\t\x20-\x7e\x80-\xff]*))?$/;

/** Reads a response's head, all of it up to and with its empty line; `method` is that of the request that it answers. */
export function readResponseHead(text: string, method: string): ResponseHead | HttpError {
  const lineEnd = text.indexOf("\r\n");
  const line = STATUS_LINE.exec(text.slice(0, lineEnd));
  if (line === null) return httpError("no HTTP/1 status line");
  const [, minor, digits, phrase = ""] = line;
  const status = Number(digits);
  const fields = readFields(text, lineEnd + 2, text.length - 2);
  if (!Array.isArray(fields)) return fields;
  const controls = readControls(fields);
  if ("reason" in controls) return controls;
  const { framing, connection } = controls;
  if (minor === "0" && framing === "chunked") return httpError("chunked in HTTP/1.0");
  const hasBody = !hasNoBody(status, method);
  // Of an answer without a body, one that says how long its body is may send it all the same.
  const isSure = hasBody || framing === undefined || framing === 0;
  // Where an interim response would end is then where the answer begins.
  if (status < 200 && !isSure) return httpError("an interim response with a body");
  const body = hasBody ? (framing ?? "until-close") : 0;
  return {
    status,
    phrase,
    fields,
    connection,
    body,
    contentLength: typeof framing === "number" ? framing : undefined,
    keepAlive: minor === "1" && body !== "until-close" && isSure && !connection.includes("close"),
  };
}

/** RFC 9112 s. 6.3, 1: whatever the fields say. */
function hasNoBody(status: number, method: string): boolean {
  return method === "HEAD" || status < 200 || status === 204 || status === 304;
}
