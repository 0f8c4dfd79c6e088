/** The part of a frame, text or file in which a parser found something wrong. */
export type Layer =
  | "address"
  | "hex"
  | "ethernet"
  | "arp"
  | "ipv4"
  | "icmp"
  | "udp"
  | "tcp"
  | "pcap"
  | "pcapng";

/** Why something could not be parsed. `message` is a whole sentence for people; the other two are for programs. */
export interface ParseError {
  layer: Layer;
  /** Name of the offending field, as in the layer's type; `"header"` when the fixed header itself is cut short. */
  field: string;
  message: string;
}

/** What every parser of this folder returns. Parsers never throw, whatever the bytes. */
export type ParseResult<T> = { ok: true; value: T } | { ok: false; error: ParseError };

/** A parsed value. */
export function ok<T>(value: T): { ok: true; value: T } {
  return { ok: true, value };
}

/** A parse error. */
export function fail(layer: Layer, field: string, message: string): { ok: false; error: ParseError } {
  return { ok: false, error: { layer, field, message } };
}
