import { describe, expect, it } from "vitest";
import { parseBtf } from "./btf.ts";
import { backendLayout, REASON_COUNT, REASONS, SHARED_STRUCTS } from "./layout.ts";
import { readBtf } from "./libbpf.ts";
import { OBJECT_FILE } from "./object.ts";

const btf = parseBtf(readBtf(OBJECT_FILE));

describe("structs shared with bpf/onlink.h, against the BTF of the compiled object", () => {
  it.each(SHARED_STRUCTS.map((layout) => [layout.name, layout] as const))("struct %s", (name, layout) => {
    expect(btf.structs.get(name), `struct ${name} is in the BTF`).toEqual({
      size: layout.size,
      offsets: layout.offsets,
    });
  });

  it("struct vif_counters is an array of REASON_COUNT counters", () => {
    expect(btf.structs.get("vif_counters")?.size).toBe(REASON_COUNT * btf.structs.get("counter")!.size);
  });

  it("enum reason", () => {
    const { REASON_NONE, REASON_COUNT: count, ...reasons } = btf.enums.get("reason")!;
    const named = Object.entries(REASONS).map(([name, number]) => [
      `REASON_${name.toUpperCase().replaceAll("-", "_")}`,
      number,
    ]);
    expect(reasons).toEqual(Object.fromEntries(named));
    expect(REASON_NONE).toBe(0);
    expect(count).toBe(REASON_COUNT);
  });
});

describe("codecs", () => {
  it("write every byte of a struct, zeros included", () => {
    const bytes = new Uint8Array(backendLayout.size).fill(0xff);
    backendLayout.write(bytes, {
      address: "127.0.0.1",
      source: "",
      ifindex: 0,
      port: 80,
      kind: "host-local",
    });
    const hex = Buffer.from(bytes).toString("hex");
    expect(hex).toBe(`${"00".repeat(10)}ffff7f000001${"00".repeat(16)}00000000005001${"00"}`);
  });

  it("refuse a number that has no name", () => {
    const bytes = new Uint8Array(backendLayout.size);
    expect(() => backendLayout.read(bytes)).toThrow(
      "a map holds 0 where one of host-local, fabric was expected",
    );
  });
});
