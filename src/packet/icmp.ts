/** ICMP for IPv4 (RFC 792, RFC 1122 s. 3.2.2), and the packets that ICMP errors quote. */
import { concatBytes, uint, viewOf } from "./bytes.ts";
import { encodeIpv4, IP_PROTOCOL, type Ipv4Header, parseIpv4Header } from "./ipv4.ts";
import { fail, ok, type ParseResult } from "./result.ts";

/** ICMP types that onlink knows. */
export const ICMP_TYPE = {
  echoReply: 0,
  destinationUnreachable: 3,
  sourceQuench: 4,
  redirect: 5,
  echoRequest: 8,
  timeExceeded: 11,
  parameterProblem: 12,
} as const;

/** Codes of `ICMP_TYPE.destinationUnreachable` that onlink knows. */
export const UNREACHABLE_CODE = { protocol: 2, port: 3, fragmentationNeeded: 4 } as const;

/** Bytes of an ICMP header. */
export const ICMP_HEADER_LENGTH = 8;

// Messages that quote the packet they are about (RFC 1122 s. 3.2.2).
const ERROR_TYPES: ReadonlySet<number> = new Set([
  ICMP_TYPE.destinationUnreachable,
  ICMP_TYPE.sourceQuench,
  ICMP_TYPE.redirect,
  ICMP_TYPE.timeExceeded,
  ICMP_TYPE.parameterProblem,
]);

interface IcmpCommon {
  type: number;
  code: number;
  /** As in the message; `frameErrors` checks it. */
  checksum: number;
}

/** An echo request or reply, by its `type`. */
export interface IcmpEcho extends IcmpCommon {
  kind: "echo";
  identifier: number;
  sequence: number;
  data: Uint8Array;
}

/** An ICMP error. */
export interface IcmpError extends IcmpCommon {
  kind: "error";
  /**
   * Bytes 4-7 as one number: zero, or the next-hop MTU in the lower half (RFC 1191), the pointer, the router of a
   * redirect.
   */
  parameter: number;
  /** The beginning of the packet that the error is about, for `parseQuotedPacket`. */
  quoted: Uint8Array;
}

/** Any other ICMP message. */
export interface IcmpOther extends IcmpCommon {
  kind: "other";
  /** Bytes 4-7 as one number. */
  parameter: number;
  data: Uint8Array;
}

/** An ICMP message. */
export type IcmpMessage = IcmpEcho | IcmpError | IcmpOther;

/** Parses a message; `data` and `quoted` are views. */
export function parseIcmp(bytes: Uint8Array): ParseResult<IcmpMessage> {
  if (bytes.length < ICMP_HEADER_LENGTH)
    return fail("icmp", "header", `an ICMP header has ${ICMP_HEADER_LENGTH} bytes, here are ${bytes.length}`);
  const view = viewOf(bytes);
  const common = { type: view.getUint8(0), code: view.getUint8(1), checksum: view.getUint16(2) };
  const rest = bytes.subarray(ICMP_HEADER_LENGTH);
  if (common.type === ICMP_TYPE.echoRequest || common.type === ICMP_TYPE.echoReply)
    return ok({
      kind: "echo",
      ...common,
      identifier: view.getUint16(4),
      sequence: view.getUint16(6),
      data: rest,
    });
  const parameter = view.getUint32(4);
  if (ERROR_TYPES.has(common.type)) return ok({ kind: "error", ...common, parameter, quoted: rest });
  return ok({ kind: "other", ...common, parameter, data: rest });
}

/** The bytes of a message, every field as it is. Throws RangeError for a field that does not fit. */
export function encodeIcmp(message: IcmpMessage): Uint8Array {
  const header = new Uint8Array(ICMP_HEADER_LENGTH);
  const view = viewOf(header);
  view.setUint8(0, uint("type", message.type, 8));
  view.setUint8(1, uint("code", message.code, 8));
  view.setUint16(2, uint("checksum", message.checksum, 16));
  if (message.kind === "echo") {
    view.setUint16(4, uint("identifier", message.identifier, 16));
    view.setUint16(6, uint("sequence", message.sequence, 16));
    return concatBytes(header, message.data);
  }
  view.setUint32(4, uint("parameter", message.parameter, 32));
  return concatBytes(header, message.kind === "error" ? message.quoted : message.data);
}

/**
 * What an ICMP error quotes: an IPv4 header and, of the transport, at least the 8 bytes that tell the flow (RFC 792).
 * All beyond those, a TCP checksum for one, may or may not be there and stays bytes, in `rest`.
 */
export interface QuotedPacket {
  ipv4: Ipv4Header;
  transport:
    | { kind: "tcp" | "udp"; sourcePort: number; destinationPort: number; rest: Uint8Array }
    | { kind: "icmp"; message: IcmpMessage }
    | { kind: "other"; bytes: Uint8Array };
}

/**
 * Parses a quoted packet. `kind: "other"` are other protocols and later fragments, which have no ports. Less than 8
 * transport bytes of TCP, UDP or ICMP are an error: the flow cannot be told.
 */
export function parseQuotedPacket(bytes: Uint8Array): ParseResult<QuotedPacket> {
  const header = parseIpv4Header(bytes);
  if (!header.ok) return header;
  const ipv4 = header.value;
  const payload = bytes.subarray(ipv4.headerLength);
  const kind = ipv4.fragmentOffset > 0 ? undefined : QUOTED_KIND.get(ipv4.protocol);
  if (kind === undefined) return ok({ ipv4, transport: { kind: "other", bytes: payload } });
  if (payload.length < 8)
    return fail(
      "icmp",
      "quoted",
      `an ICMP error quotes at least 8 bytes after the IP header, here are ${payload.length}`,
    );
  if (kind === "icmp") {
    const message = parseIcmp(payload);
    return message.ok ? ok({ ipv4, transport: { kind, message: message.value } }) : message;
  }
  const view = viewOf(payload);
  return ok({
    ipv4,
    transport: {
      kind,
      sourcePort: view.getUint16(0),
      destinationPort: view.getUint16(2),
      rest: payload.subarray(4),
    },
  });
}

/** The bytes of a quoted packet, every field as it is. Throws RangeError for a field that does not fit. */
export function encodeQuotedPacket({ ipv4, transport }: QuotedPacket): Uint8Array {
  return encodeIpv4({ ...ipv4, payload: encodeQuotedTransport(transport) });
}

const QUOTED_KIND: ReadonlyMap<number, "tcp" | "udp" | "icmp"> = new Map([
  [IP_PROTOCOL.tcp, "tcp"],
  [IP_PROTOCOL.udp, "udp"],
  [IP_PROTOCOL.icmp, "icmp"],
]);

function encodeQuotedTransport(transport: QuotedPacket["transport"]): Uint8Array {
  if (transport.kind === "icmp") return encodeIcmp(transport.message);
  if (transport.kind === "other") return transport.bytes;
  const ports = new Uint8Array(4);
  const view = viewOf(ports);
  view.setUint16(0, uint("sourcePort", transport.sourcePort, 16));
  view.setUint16(2, uint("destinationPort", transport.destinationPort, 16));
  return concatBytes(ports, transport.rest);
}
