/**
 * The netlink wire format: messages, their header and their attributes (include/uapi/linux/netlink.h). Pure; which
 * attributes mean what is the business of `rtnetlink-codec.ts`. Numbers are in the byte order of the machine.
 */
import { endianness } from "node:os";

/** Message types below 16 belong to netlink itself. */
export const NLMSG = { NOOP: 1, ERROR: 2, DONE: 3 } as const;

/** Flags of the message header. */
export const NLM_F = {
  REQUEST: 0x1,
  ACK: 0x4,
  /** The table changed while it was read out: the dump may have missed entries. */
  DUMP_INTR: 0x10,
  /** ROOT and MATCH. */
  DUMP: 0x300,
  EXCL: 0x200,
  CREATE: 0x400,
  /** In an answer of type ERROR: the request is not repeated behind its header. */
  CAPPED: 0x100,
  /** In an answer of type ERROR or DONE: attributes follow. */
  ACK_TLVS: 0x200,
} as const;

/** A netlink message. */
export interface Message {
  type: number;
  flags: number;
  /** Chosen by the asker, repeated in the answers. */
  sequence: number;
  /** nlmsg_pid: the port of the asker's socket; 0 in requests and notifications. */
  port: number;
  payload: Buffer;
}

/** How a request ended: the content of a message of type ERROR or DONE. */
export interface Outcome {
  /** 0: it succeeded. */
  errno: number;
  /** The kernel's own words (NLMSGERR_ATTR_MSG), where it has any. */
  text: string | undefined;
}

/** struct nlmsghdr. */
const HEADER = 16;
/** struct nlattr. */
const ATTRIBUTE_HEADER = 4;
/** Without NLA_F_NESTED and NLA_F_NET_BYTEORDER. */
const NLA_TYPE_MASK = 0x3fff;
const NLA_F_NESTED = 0x8000;
const NLMSGERR_ATTR_MSG = 1;

const littleEndian = endianness() === "LE";

/** Reads a 16-bit number in the machine's byte order. */
export function readU16(bytes: Buffer, offset = 0): number {
  return littleEndian ? bytes.readUInt16LE(offset) : bytes.readUInt16BE(offset);
}

/** Reads a 32-bit number in the machine's byte order. */
export function readU32(bytes: Buffer, offset = 0): number {
  return littleEndian ? bytes.readUInt32LE(offset) : bytes.readUInt32BE(offset);
}

/** Writes a 16-bit number in the machine's byte order. */
export function writeU16(bytes: Buffer, value: number, offset = 0): void {
  littleEndian ? bytes.writeUInt16LE(value, offset) : bytes.writeUInt16BE(value, offset);
}

/** Writes a 32-bit number in the machine's byte order. */
export function writeU32(bytes: Buffer, value: number, offset = 0): void {
  littleEndian ? bytes.writeUInt32LE(value, offset) : bytes.writeUInt32BE(value, offset);
}

/** Messages and attributes start at multiples of 4 (NLMSG_ALIGN, NLA_ALIGN). */
function align(length: number): number {
  return (length + 3) & ~3;
}

/** A message as bytes, its length a multiple of 4. */
export function encodeMessage(message: Message): Buffer {
  const bytes = Buffer.alloc(align(HEADER + message.payload.length));
  writeU32(bytes, HEADER + message.payload.length, 0);
  writeU16(bytes, message.type, 4);
  writeU16(bytes, message.flags, 6);
  writeU32(bytes, message.sequence, 8);
  writeU32(bytes, message.port, 12);
  message.payload.copy(bytes, HEADER);
  return bytes;
}

/** The messages in what one read gave. Payloads are views of the same bytes. Throws when one is cut off. */
export function decodeMessages(bytes: Buffer): Message[] {
  const messages: Message[] = [];
  let offset = 0;
  while (offset < bytes.length) {
    const left = bytes.length - offset;
    const length = left < HEADER ? HEADER : readU32(bytes, offset);
    if (length < HEADER || length > left) {
      throw new Error(`netlink message at byte ${offset}: length ${length}, but ${left} bytes are there`);
    }
    messages.push({
      type: readU16(bytes, offset + 4),
      flags: readU16(bytes, offset + 6),
      sequence: readU32(bytes, offset + 8),
      port: readU32(bytes, offset + 12),
      payload: bytes.subarray(offset + HEADER, offset + length),
    });
    offset += align(length);
  }
  return messages;
}

/** An attribute with any value. */
export function attribute(type: number, value: Uint8Array): Buffer {
  const bytes = Buffer.alloc(align(ATTRIBUTE_HEADER + value.length));
  writeU16(bytes, ATTRIBUTE_HEADER + value.length, 0);
  writeU16(bytes, type, 2);
  bytes.set(value, ATTRIBUTE_HEADER);
  return bytes;
}

/** An attribute that is a 32-bit number. */
export function attributeU32(type: number, value: number): Buffer {
  const bytes = Buffer.alloc(4);
  writeU32(bytes, value);
  return attribute(type, bytes);
}

/** An attribute that is a text, with the zero byte that ends it (NLA_NUL_STRING). */
export function attributeText(type: number, value: string): Buffer {
  return attribute(type, Buffer.from(`${value}\0`));
}

/** An attribute that holds attributes. */
export function nested(type: number, ...attributes: Buffer[]): Buffer {
  return attribute(type | NLA_F_NESTED, Buffer.concat(attributes));
}

/**
 * The attributes by type, flag bits taken off; with `wanted`, those of these types alone. Of a type that occurs twice the last one stays, as in the kernel's
 * nla_parse(). Values are views of the same bytes. Throws when one is cut off.
 */
export function decodeAttributes(bytes: Buffer, wanted?: ReadonlySet<number>): Map<number, Buffer> {
  const attributes = new Map<number, Buffer>();
  let offset = 0;
  while (offset < bytes.length) {
    const left = bytes.length - offset;
    const length = left < ATTRIBUTE_HEADER ? ATTRIBUTE_HEADER : readU16(bytes, offset);
    if (length < ATTRIBUTE_HEADER || length > left) {
      throw new Error(`netlink attribute at byte ${offset}: length ${length}, but ${left} bytes are there`);
    }
    const type = readU16(bytes, offset + 2) & NLA_TYPE_MASK;
    if (wanted === undefined || wanted.has(type))
      attributes.set(type, bytes.subarray(offset + ATTRIBUTE_HEADER, offset + length));
    offset += align(length);
  }
  return attributes;
}

/** The value of a text attribute, up to its zero byte. */
export function text(value: Buffer): string {
  const end = value.indexOf(0);
  return value.toString("utf8", 0, end < 0 ? value.length : end);
}

/**
 * Reads a message of type ERROR (an acknowledgement is one with errno 0) or DONE. Both start with an `int`, the
 * negative errno. ERROR goes on with the request, or just its header when CAPPED is set; then come the attributes.
 */
export function decodeOutcome(message: Message): Outcome {
  const { payload } = message;
  if (payload.length < 4) {
    throw new Error(
      `netlink message of type ${message.type}: ${payload.length} bytes where an error number should be`,
    );
  }
  const errno = -readU32(payload) | 0;
  let attributesAt = 4;
  if (message.type === NLMSG.ERROR) {
    const capped = (message.flags & NLM_F.CAPPED) !== 0;
    attributesAt += capped || payload.length < 8 ? HEADER : align(readU32(payload, 4));
  }
  if ((message.flags & NLM_F.ACK_TLVS) === 0) {
    return { errno, text: undefined };
  }
  const words = decodeAttributes(payload.subarray(attributesAt)).get(NLMSGERR_ATTR_MSG);
  return { errno, text: words && text(words) };
}
