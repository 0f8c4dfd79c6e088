import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  MAP_LAYOUTS,
  mapConverters,
  parseLayouts,
  type StructLayout,
  structConverter,
} from "./map-layouts.ts";

/** A struct with fields of these lengths, in this order, without gaps. */
function layout(fields: Array<[name: string, length: number]>): StructLayout {
  let size = 0;
  const placed = fields.map(([name, length]) => {
    const offset = size;
    size += length;
    return [name, [offset, length]] as const;
  });
  return { size, fields: Object.fromEntries(placed) as StructLayout["fields"] };
}

function fieldsOf({ fields }: StructLayout, bytes: Uint8Array): Record<string, string> {
  const entries = Object.entries(fields).map(([name, [offset, length]]) => [
    name,
    Buffer.from(bytes.subarray(offset, offset + length)).toString("hex"),
  ]);
  return Object.fromEntries(entries);
}

const fields = fc.uniqueArray(fc.tuple(fc.constantFrom(..."abcdefgh"), fc.integer({ min: 1, max: 8 })), {
  selector: ([name]) => name,
});

describe("structConverter", () => {
  it("gives each field that both have what it had, and zero to the new ones", () => {
    fc.assert(
      fc.property(fields, fields, fc.infiniteStream(fc.nat(255)), (old, wanted, noise) => {
        const lengths = new Map(old);
        const from = layout(old);
        const to = layout(wanted.map(([name, length]) => [name, lengths.get(name) ?? length]));
        const bytes = Uint8Array.from({ length: from.size }, () => noise.next().value ?? 0);
        const before = fieldsOf(from, bytes);
        const after = fieldsOf(to, structConverter(from, to)!(bytes));
        for (const [name, [, length]] of Object.entries(to.fields))
          expect(after[name]).toBe(before[name] ?? "00".repeat(length));
      }),
    );
  });

  it("takes structs in a row one by one", () => {
    const from = layout([["a", 2]]);
    const to = layout([
      ["new", 1],
      ["a", 2],
    ]);
    expect(structConverter(from, to, 2)!(Uint8Array.of(1, 2, 3, 4))).toEqual(Uint8Array.of(0, 1, 2, 0, 3, 4));
  });

  it("is none where a field has another length", () => {
    expect(structConverter(layout([["a", 2]]), layout([["a", 4]]))).toBeUndefined();
  });
});

describe("mapConverters", () => {
  const flows = MAP_LAYOUTS.flows_0!;

  it("are none where a layout is not known, or there are more or fewer structs in a value", () => {
    expect(mapConverters(undefined, flows)).toBeUndefined();
    expect(mapConverters(flows, undefined)).toBeUndefined();
    expect(mapConverters({ ...flows, repeat: 2 }, flows)).toBeUndefined();
    expect(mapConverters({ ...flows, key: layout([["vif", 8]]) }, flows)).toBeUndefined();
  });

  it("between the same layouts change nothing but padding", () => {
    const key = new Uint8Array(flows.key.size).fill(0xff);
    const { fields } = flows.key;
    expect(fieldsOf(flows.key, mapConverters(flows, flows)!.key(key))).toEqual(fieldsOf(flows.key, key));
    expect(Object.keys(fields)).not.toContain("pad");
  });
});

describe("parseLayouts", () => {
  it("reads what is written", () => {
    expect(parseLayouts(JSON.stringify(MAP_LAYOUTS))).toEqual(MAP_LAYOUTS);
  });

  it.each([
    "",
    "null",
    "[]",
    '{"flows":null}',
    '{"flows":{"key":{"size":4,"fields":{}},"value":{"size":4,"fields":{}}}}',
    '{"flows":{"key":{"size":4,"fields":{"a":[0,8]}},"value":{"size":4,"fields":{}},"repeat":1}}',
    '{"flows":{"key":{"size":4,"fields":{"a":[-1,4]}},"value":{"size":4,"fields":{}},"repeat":1}}',
    '{"flows":{"key":{"size":4,"fields":{"a":[0]}},"value":{"size":4,"fields":{}},"repeat":1}}',
  ])("refuses %s", (text) => {
    expect(parseLayouts(text)).toBeUndefined();
  });

  it("takes anything without throwing", () => {
    fc.assert(fc.property(fc.json(), (text) => void parseLayouts(text)));
  });
});
