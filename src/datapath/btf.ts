/** Reads BTF, the type information in a compiled eBPF object (Linux: Documentation/bpf/btf.rst), as far as structs and enums go. */
import { endianness } from "node:os";

/** A struct: size in bytes and the offset of each named member, in bytes. */
export interface BtfStruct {
  size: number;
  offsets: Record<string, number>;
}

/** What an object declares, by name. */
export interface Btf {
  structs: Map<string, BtfStruct>;
  enums: Map<string, Record<string, number>>;
}

const MAGIC = 0xeb9f;
const KIND = {
  int: 1,
  array: 3,
  struct: 4,
  union: 5,
  enum: 6,
  functionPrototype: 13,
  variable: 14,
  dataSection: 15,
  declTag: 17,
  enum64: 19,
};
/** Bytes that follow the common 12 of a type, by kind: once, and for each of its `vlen` members. */
const TRAILERS: Record<number, { once: number; each: number }> = {
  [KIND.int]: { once: 4, each: 0 },
  [KIND.array]: { once: 12, each: 0 },
  [KIND.struct]: { once: 0, each: 12 },
  [KIND.union]: { once: 0, each: 12 },
  [KIND.enum]: { once: 0, each: 8 },
  [KIND.functionPrototype]: { once: 0, each: 8 },
  [KIND.variable]: { once: 4, each: 0 },
  [KIND.dataSection]: { once: 0, each: 12 },
  [KIND.declTag]: { once: 4, each: 0 },
  [KIND.enum64]: { once: 0, each: 12 },
};

/** Parses raw BTF; throws RangeError where it is cut short, and Error where it is no BTF of this machine's byte order. */
export function parseBtf(bytes: Uint8Array): Btf {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const little = endianness() === "LE";
  const u32 = (offset: number) => view.getUint32(offset, little);
  if (view.getUint16(0, little) !== MAGIC) throw new Error("not BTF, or BTF of another byte order");
  const header = u32(4);
  const types = header + u32(8);
  const typesEnd = types + u32(12);
  const strings = header + u32(16);
  const name = (at: number) => {
    const start = strings + u32(at);
    return Buffer.from(bytes.subarray(start, bytes.indexOf(0, start))).toString("latin1");
  };

  const found: Btf = { structs: new Map(), enums: new Map() };
  for (let at = types; at < typesEnd; ) {
    const information = u32(at + 4);
    const kind = (information >>> 24) & 0x1f;
    const count = information & 0xffff;
    const bitfields = information >>> 31 === 1;
    const trailer = TRAILERS[kind] ?? { once: 0, each: 0 };
    const members = at + 12 + trailer.once;
    if (kind === KIND.struct) {
      const offsets: Record<string, number> = {};
      for (let i = 0; i < count; i++) {
        const bits = u32(members + i * 12 + 8);
        offsets[name(members + i * 12)] = (bitfields ? bits & 0xffffff : bits) / 8;
      }
      found.structs.set(name(at), { size: u32(at + 8), offsets });
    } else if (kind === KIND.enum) {
      const values: Record<string, number> = {};
      for (let i = 0; i < count; i++) values[name(members + i * 8)] = u32(members + i * 8 + 4);
      found.enums.set(name(at), values);
    }
    at = members + count * trailer.each;
  }
  return found;
}
