/** Bytes as hex digits, for tests and for people. */
import { fail, ok, type ParseResult } from "./result.ts";

/** The bytes as pairs of hex digits in lower case, with nothing between them. */
export function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Parses pairs of hex digits, in either case; white space, colons and hyphens between pairs do not count. */
export function parseHex(text: string): ParseResult<Uint8Array> {
  const bytes: number[] = [];
  const pair = /[\s:-]*([0-9a-f]{2})/iy;
  let end = 0;
  for (let match = pair.exec(text); match !== null; match = pair.exec(text)) {
    bytes.push(Number.parseInt(match[1]!, 16));
    end = pair.lastIndex;
  }
  const rest = text.slice(end);
  if (/[^\s:-]/.test(rest))
    return fail(
      "hex",
      "digits",
      `expected a pair of hex digits at character ${end}, found ${JSON.stringify(rest.trim().slice(0, 10))}`,
    );
  return ok(Uint8Array.from(bytes));
}

/**
 * A hex dump: lines of offset, 16 bytes, and the same as ASCII with a dot for what cannot be shown. Ends in no
 * newline.
 */
export function hexDump(bytes: Uint8Array): string {
  const lines: string[] = [];
  for (let offset = 0; offset < bytes.length; offset += 16) {
    const row = Array.from(bytes.subarray(offset, offset + 16));
    const hex = row.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    const ascii = row.map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : ".")).join("");
    lines.push(`${offset.toString(16).padStart(4, "0")}  ${hex.padEnd(47)}  ${ascii}`);
  }
  return lines.join("\n");
}
