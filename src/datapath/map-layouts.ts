/**
 * What the maps hold, told so that another version of onlink can read it: a description lies beside them as a pin of its own (BTF would tell
 * the same, but the kernel gives it by id to CAP_SYS_ADMIN alone).
 */
import {
  backendKeyLayout,
  backendLayout,
  counterLayout,
  defenceKeyLayout,
  eventLayout,
  FLOW_SHARDS,
  flowKeyLayout,
  flowLayout,
  fragmentKeyLayout,
  fragmentLayout,
  ipAddressLayout,
  REASON_COUNT,
  reverseKeyLayout,
  serviceAddressLayout,
  serviceCountersLayout,
  serviceKeyLayout,
  serviceLayout,
  settingsLayout,
  u32Layout,
  vifAddressLayout,
  vifLayout,
  vifStateLayout,
} from "./layout.ts";

/** Where each field of a struct lies: offset and length in bytes. Padding is left out. */
export interface StructLayout {
  size: number;
  fields: Record<string, [offset: number, length: number]>;
}

/** Keys and values of one map; a value may be several structs in a row. */
export interface MapLayout {
  key: StructLayout;
  value: StructLayout;
  repeat: number;
}

/** By the name of the map. */
export type MapLayouts = Record<string, MapLayout>;

type AnyStruct = Pick<typeof u32Layout, "size" | "sizes"> & { offsets: Record<string, number> };

/** A bare number of eight bytes. */
const u64Struct: AnyStruct = { size: 8, sizes: { value: 8 }, offsets: { value: 0 } };

const STRUCTS: Record<string, { key: AnyStruct; value: AnyStruct; repeat?: number }> = {
  settings: { key: u32Layout, value: settingsLayout },
  service_addresses: { key: ipAddressLayout, value: serviceAddressLayout },
  services: { key: serviceKeyLayout, value: serviceLayout },
  backends: { key: backendKeyLayout, value: backendLayout },
  vifs: { key: u32Layout, value: vifLayout },
  vif_addresses: { key: vifAddressLayout, value: u32Layout },
  metadata_addresses: { key: ipAddressLayout, value: u32Layout },
  vif_states: { key: u32Layout, value: vifStateLayout },
  vif_counters: { key: u32Layout, value: counterLayout, repeat: REASON_COUNT },
  counters: { key: u32Layout, value: counterLayout },
  service_counters: { key: u32Layout, value: serviceCountersLayout },
  events_lost: { key: u32Layout, value: u64Struct },
  events: { key: u32Layout, value: eventLayout },
  defences: { key: defenceKeyLayout, value: u64Struct },
  fragments: { key: fragmentKeyLayout, value: fragmentLayout },
  reverse: { key: reverseKeyLayout, value: flowKeyLayout },
  ...Object.fromEntries(
    Array.from({ length: FLOW_SHARDS }, (_, shard) => [
      `flows_${shard}`,
      { key: flowKeyLayout, value: flowLayout },
    ]),
  ),
};

/** The maps of this version. Those that no other version has to read are not there. */
export const MAP_LAYOUTS: MapLayouts = Object.fromEntries(
  Object.entries(STRUCTS).map(([name, { key, value, repeat = 1 }]) => [
    name,
    { key: layoutOf(key), value: layoutOf(value), repeat },
  ]),
);

function layoutOf({ size, offsets, sizes }: AnyStruct): StructLayout {
  const fields = Object.entries(offsets)
    .filter(([name]) => !/^pad\d*$/.test(name))
    .map(([name, offset]) => [name, [offset, sizes[name]!]]);
  return { size, fields: Object.fromEntries(fields) };
}

/** Reads what an agent of any version has written. Undefined where it is nothing of the kind. */
export function parseLayouts(text: string): MapLayouts | undefined {
  try {
    const layouts: unknown = JSON.parse(text);
    return isRecord(layouts) && Object.values(layouts).every(isMapLayout)
      ? (layouts as MapLayouts)
      : undefined;
  } catch {
    return undefined;
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isMapLayout(value: unknown): boolean {
  return (
    isRecord(value) &&
    isStructLayout(value.key) &&
    isStructLayout(value.value) &&
    Number.isInteger(value.repeat)
  );
}

function isStructLayout(value: unknown): boolean {
  if (!isRecord(value) || !Number.isInteger(value.size) || !isRecord(value.fields)) return false;
  const size = value.size as number;
  return Object.values(value.fields).every(
    (field) =>
      Array.isArray(field) &&
      field.length === 2 &&
      field.every((number) => Number.isInteger(number) && number >= 0) &&
      field[0] + field[1] <= size,
  );
}

/** Turns bytes of one layout into those of another. */
export type Convert = (bytes: Uint8Array) => Uint8Array;

/**
 * Carries a struct over, field by field by name: what only the old one has is left out, what only the new one has is zero, which stands for
 * "none" everywhere. Undefined where a field has another length: then nobody knows what it means.
 */
export function structConverter(from: StructLayout, to: StructLayout, repeat = 1): Convert | undefined {
  const moves: Array<{ source: number; target: number; length: number }> = [];
  for (const [name, [source, length]] of Object.entries(from.fields)) {
    const field = to.fields[name];
    if (field === undefined) continue;
    if (field[1] !== length) return undefined;
    moves.push({ source, target: field[0], length });
  }
  return (bytes) => {
    const converted = new Uint8Array(to.size * repeat);
    for (let i = 0; i < repeat; i++)
      for (const { source, target, length } of moves) {
        const start = from.size * i + source;
        converted.set(bytes.subarray(start, start + length), to.size * i + target);
      }
    return converted;
  };
}

/** The converters for keys and values of a map; undefined where its entries cannot be carried over. */
export function mapConverters(
  from: MapLayout | undefined,
  to: MapLayout | undefined,
): { key: Convert; value: Convert } | undefined {
  if (from === undefined || to === undefined || from.repeat !== to.repeat) return undefined;
  const key = structConverter(from.key, to.key);
  const value = structConverter(from.value, to.value, to.repeat);
  return key && value && { key, value };
}
