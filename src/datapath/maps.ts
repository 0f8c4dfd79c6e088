/** Typed maps over file descriptors. */
import {
  deleteElement,
  deleteElements,
  forEachElement,
  lookupElement,
  possibleCpus,
  updateElement,
  updateElements,
} from "./libbpf.ts";
import type { Struct } from "./struct.ts";
import type { DatapathMap } from "./types.ts";

/**
 * A map of the kernel as a `DatapathMap`. `fromKey` and `toKey` (and likewise for values) turn the agent's form into the
 * struct's and back, where the two differ.
 */
export function openMap<K, V, KS, VS>(
  fd: number,
  key: { layout: Struct<KS>; toStruct(key: K): KS; fromStruct(key: KS): K },
  value: { layout: Struct<VS>; toStruct(value: V): VS; fromStruct(value: VS): V },
): DatapathMap<K, V> {
  const encodeKey = (k: K) => key.layout.encode(key.toStruct(k));
  return {
    get: (k) => {
      const bytes = new Uint8Array(value.layout.size);
      return lookupElement(fd, encodeKey(k), bytes) ? value.fromStruct(value.layout.read(bytes)) : undefined;
    },
    set: (k, v) => updateElement(fd, encodeKey(k), value.layout.encode(value.toStruct(v))),
    setAll: (entries) =>
      updateElements(
        fd,
        key.layout.encodeAll(entries.map(([k]) => key.toStruct(k))),
        value.layout.encodeAll(entries.map(([, v]) => value.toStruct(v))),
        entries.length,
      ),
    delete: (k) => deleteElement(fd, encodeKey(k)),
    deleteAll: (keys) => deleteElements(fd, key.layout.encodeAll(keys.map(key.toStruct)), keys.length),
    entries: () => {
      const found: Array<[K, V]> = [];
      forEachElement(fd, key.layout.size, value.layout.size, (k, v) =>
        found.push([key.fromStruct(key.layout.read(k)), value.fromStruct(value.layout.read(v))]),
      );
      return found;
    },
  };
}

/** A struct whose codec's value is already what the agent uses. */
export function plain<V>(layout: Struct<V>): { layout: Struct<V>; toStruct(v: V): V; fromStruct(v: V): V } {
  return { layout, toStruct: (v) => v, fromStruct: (v) => v };
}

/** A struct of one field, used bare. */
export function single<N extends string, T>(
  layout: Struct<Record<N, T>>,
  name: N,
): { layout: Struct<Record<N, T>>; toStruct(v: T): Record<N, T>; fromStruct(v: Record<N, T>): T } {
  return { layout, toStruct: (v) => ({ [name]: v }) as Record<N, T>, fromStruct: (v) => v[name] };
}

/** The values of a per-CPU map under one key, one for each possible CPU; undefined where there is no such key. */
export function readPerCpu(fd: number, key: Uint8Array, valueSize: number): Uint8Array[] | undefined {
  const stride = Math.ceil(valueSize / 8) * 8; // the kernel rounds each CPU's value up to 8 bytes
  const bytes = new Uint8Array(stride * possibleCpus());
  if (!lookupElement(fd, key, bytes)) return undefined;
  return Array.from({ length: possibleCpus() }, (_, cpu) =>
    bytes.subarray(cpu * stride, cpu * stride + valueSize),
  );
}
