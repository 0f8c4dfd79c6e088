/**
 * C structs as data: a struct is a list of named fields in the order of its C declaration, and its offsets follow from the C rules
 * for natural alignment. `layout.test.ts` holds every offset and size against the BTF of the compiled object.
 *
 * Byte order is part of a field type's name: `be16` is network order, the others are the machine's own. 64-bit values are bigint.
 */
import { endianness } from "node:os";
import { ipv4FromUint32, ipv4ToUint32, macFromBytes, macToBytes } from "../packet/address.ts";
import { DatapathError } from "./errors.ts";

const LITTLE = endianness() === "LE";

/** One field: size and alignment in bytes, and how a value stands in them. */
export interface FieldType<T> {
  size: number;
  align: number;
  read(view: DataView, offset: number): T;
  write(view: DataView, offset: number, value: T): void;
}

export const u8: FieldType<number> = {
  size: 1,
  align: 1,
  read: (view, offset) => view.getUint8(offset),
  write: (view, offset, value) => view.setUint8(offset, value),
};

export const u16: FieldType<number> = {
  size: 2,
  align: 2,
  read: (view, offset) => view.getUint16(offset, LITTLE),
  write: (view, offset, value) => view.setUint16(offset, value, LITTLE),
};

export const be16: FieldType<number> = {
  size: 2,
  align: 2,
  read: (view, offset) => view.getUint16(offset, false),
  write: (view, offset, value) => view.setUint16(offset, value, false),
};

export const u32: FieldType<number> = {
  size: 4,
  align: 4,
  read: (view, offset) => view.getUint32(offset, LITTLE),
  write: (view, offset, value) => view.setUint32(offset, value, LITTLE),
};

export const u64: FieldType<bigint> = {
  size: 8,
  align: 8,
  read: (view, offset) => view.getBigUint64(offset, LITTLE),
  write: (view, offset, value) => view.setBigUint64(offset, value, LITTLE),
};

/** Six bytes as text. */
export const mac: FieldType<string> = {
  size: 6,
  align: 1,
  read: (view, offset) => macFromBytes(bytesAt(view, offset, 6)),
  write: (view, offset, value) => bytesAt(view, offset, 6).set(macToBytes(value)),
};

/** The third word of an IPv4 address in the form of an IPv6 one; the two before it are zero. */
const IPV4_MAPPED = 0x0000ffff;

/** `struct ip_address` holding an IPv4 address as ::ffff:a.b.c.d (RFC 4291 s. 2.5.5.2); all zero is the empty text. */
export const ipAddress: FieldType<string> = {
  size: 16,
  align: 4,
  // Without a view of its own: four of these are in each flow, of which there may be a million to list.
  read: (view, offset) => {
    const upper = view.getUint32(offset) | view.getUint32(offset + 4) | view.getUint32(offset + 8);
    const lower = view.getUint32(offset + 12);
    return (upper | lower) === 0 ? "" : ipv4FromUint32(lower);
  },
  write: (view, offset, value) => {
    view.setUint32(offset, 0);
    view.setUint32(offset + 4, 0);
    view.setUint32(offset + 8, value === "" ? 0 : IPV4_MAPPED);
    view.setUint32(offset + 12, value === "" ? 0 : ipv4ToUint32(value));
  },
};

/** Bytes that nobody reads; written as zero, since hash keys are compared whole. */
export function padding(size: number, align = 1): FieldType<undefined> {
  return {
    size,
    align,
    read: () => undefined,
    write: (view, offset) => bytesAt(view, offset, size).fill(0),
  };
}

/** A number with a name for each value; an unknown number is an error, as it means another layout. */
export function named<Name extends string>(
  base: FieldType<number>,
  names: Record<Name, number>,
): FieldType<Name> {
  const byNumber = new Map(Object.entries<number>(names).map(([name, number]) => [number, name as Name]));
  return {
    size: base.size,
    align: base.align,
    read: (view, offset) => {
      const number = base.read(view, offset);
      const name = byNumber.get(number);
      if (name === undefined)
        throw new DatapathError(
          `a map holds ${number} where one of ${[...byNumber.values()].join(", ")} was expected`,
        );
      return name;
    },
    write: (view, offset, value) => base.write(view, offset, names[value]),
  };
}

type Camel<S extends string> = S extends `${infer Head}_${infer Tail}`
  ? `${Head}${Capitalize<Camel<Tail>>}`
  : S;

// biome-ignore lint/suspicious/noExplicitAny: a struct mixes field types; each keeps its own through the mapped type below
type Fields = Record<string, FieldType<any>>;

/** The value of a struct: C names in camel case, padding left out. */
export type StructValue<F extends Fields> = {
  [K in keyof F & string as F[K] extends FieldType<undefined> ? never : Camel<K>]: F[K] extends FieldType<
    infer T
  >
    ? T
    : never;
};

/** A C struct: its name, where each field lies and how long it is (bytes), and its codec. */
export interface Struct<V> {
  name: string;
  size: number;
  align: number;
  offsets: Record<string, number>;
  sizes: Record<string, number>;
  read(bytes: Uint8Array): V;
  write(bytes: Uint8Array, value: V): void;
  /** A new buffer with the value. */
  encode(value: V): Uint8Array;
  /** A new buffer with the values, laid end to end. */
  encodeAll(values: readonly V[]): Uint8Array;
}

/** The value that a struct's codec reads and writes. */
export type StructValueOf<S> = S extends Struct<infer V> ? V : never;

/** Declares a struct; `fields` in the order of the C declaration. */
export function struct<const F extends Fields>(name: string, fields: F): Struct<StructValue<F>> {
  const offsets: Record<string, number> = {};
  const sizes: Record<string, number> = {};
  const parts: Array<{ key: string; offset: number; type: FieldType<unknown> }> = [];
  let end = 0;
  let align = 1;
  for (const [cName, type] of Object.entries(fields)) {
    const offset = alignUp(end, type.align);
    offsets[cName] = offset;
    sizes[cName] = type.size;
    parts.push({ key: camel(cName), offset, type });
    end = offset + type.size;
    align = Math.max(align, type.align);
  }
  const size = alignUp(end, align);
  const writeAt = (view: DataView, start: number, value: StructValue<F>): void => {
    for (const { key, offset, type } of parts)
      type.write(view, start + offset, (value as Record<string, unknown>)[key]);
  };
  const encodeAll = (values: ReadonlyArray<StructValue<F>>): Uint8Array => {
    const bytes = new Uint8Array(size * values.length);
    const view = viewOf(bytes);
    for (const [index, value] of values.entries()) writeAt(view, index * size, value);
    return bytes;
  };
  return {
    name,
    size,
    align,
    offsets,
    sizes,
    read: (bytes) => {
      const view = viewOf(bytes);
      const value: Record<string, unknown> = {};
      for (const { key, offset, type } of parts) {
        const field = type.read(view, offset);
        if (field !== undefined) value[key] = field;
      }
      return value as StructValue<F>;
    },
    write: (bytes, value) => writeAt(viewOf(bytes), 0, value),
    encode: (value) => encodeAll([value]),
    encodeAll,
  };
}

function alignUp(offset: number, align: number): number {
  return Math.ceil(offset / align) * align;
}

function camel(name: string): string {
  return name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function bytesAt(view: DataView, offset: number, length: number): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset + offset, length);
}
