import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { concatBytes, viewOf } from "./bytes.ts";
import { windowsArpRequest } from "./fixtures.ts";
import { type Capture, LINK_TYPE_ETHERNET, pcapngHeader, pcapngPacket, readCapture } from "./pcap.ts";

function read(file: Uint8Array): Capture {
  const capture = readCapture(file);
  if (!capture.ok) throw new Error(capture.error.message);
  return capture.value;
}

/** 32-bit words in the given byte order. */
function words(littleEndian: boolean, ...values: number[]): Uint8Array {
  const bytes = new Uint8Array(values.length * 4);
  values.forEach((value, n) => {
    viewOf(bytes).setUint32(n * 4, value, littleEndian);
  });
  return bytes;
}

function block(littleEndian: boolean, type: number, ...body: Uint8Array[]): Uint8Array {
  const inside = concatBytes(...body);
  const length = inside.length + 12;
  return concatBytes(words(littleEndian, type, length), inside, words(littleEndian, length));
}

describe("pcap", () => {
  const packet = Uint8Array.of(1, 2, 3);
  function file(littleEndian: boolean, magic: number, ...records: Uint8Array[]): Uint8Array {
    const version = littleEndian ? 0x00040002 : 0x00020004;
    return concatBytes(words(littleEndian, magic, version, 0, 0, 65535, LINK_TYPE_ETHERNET), ...records);
  }

  test.each([
    [true, 0xa1b2c3d4, 1_700_000_000_000_005_000n],
    [false, 0xa1b2c3d4, 1_700_000_000_000_005_000n],
    [true, 0xa1b23c4d, 1_700_000_000_000_000_005n],
    [false, 0xa1b23c4d, 1_700_000_000_000_000_005n],
  ])("little-endian %s, magic %i", (littleEndian, magic, timestamp) => {
    const record = concatBytes(words(littleEndian, 1_700_000_000, 5, 3, 60), packet);
    expect(read(file(littleEndian, magic, record, record))).toEqual({
      packets: Array(2).fill({
        timestamp,
        linkType: LINK_TYPE_ETHERNET,
        bytes: packet,
        originalLength: 60,
        interfaceName: undefined,
      }),
      damage: undefined,
    });
  });

  test("a record that claims more than is left ends the reading, the packets before it are kept", () => {
    const good = concatBytes(words(true, 0, 0, 3, 3), packet);
    const capture = read(file(true, 0xa1b2c3d4, good, words(true, 0, 0, 0xffffffff, 3), packet));
    expect(capture.packets).toHaveLength(1);
    expect(capture.damage).toEqual({
      layer: "pcap",
      field: "length",
      message: "at byte 43: the record claims 4294967295 bytes, 3 are left",
    });
  });

  test("one byte too few ends the reading", () => {
    const record = concatBytes(words(true, 0, 0, 4, 4), packet);
    expect(read(file(true, 0xa1b2c3d4, record))).toMatchObject({ packets: [], damage: { field: "length" } });
  });

  test("a record header that is cut short ends the reading", () => {
    expect(read(file(true, 0xa1b2c3d4, new Uint8Array(15))).damage).toMatchObject({ field: "header" });
  });

  test("a header cut short and another version are errors", () => {
    expect(readCapture(file(true, 0xa1b2c3d4).subarray(0, 23))).toMatchObject({
      ok: false,
      error: { field: "header" },
    });
    const other = file(true, 0xa1b2c3d4);
    other[4] = 3;
    expect(readCapture(other)).toMatchObject({ ok: false, error: { field: "version" } });
  });
});

describe.each([true, false])("pcapng, little-endian %s", (littleEndian) => {
  const section = block(
    littleEndian,
    0x0a0d0d0a,
    words(littleEndian, 0x1a2b3c4d, littleEndian ? 1 : 0x00010000, 0xffffffff, 0xffffffff),
  );
  const linkType = (type: number) => words(littleEndian, littleEndian ? type : type << 16);
  const option = (code: number, length: number) =>
    words(littleEndian, littleEndian ? code | (length << 16) : (code << 16) | length);
  const description = (snapLength: number, ...options: Uint8Array[]) =>
    block(littleEndian, 1, linkType(LINK_TYPE_ETHERNET), words(littleEndian, snapLength), ...options);
  const enhanced = (index: number, high: number, low: number, length: number, original: number) =>
    block(
      littleEndian,
      6,
      words(littleEndian, index, high, low, length, original),
      Uint8Array.of(1, 2, 3, 0),
    );

  test("enhanced packets: default resolution, name, original length", () => {
    const name = concatBytes(option(2, 4), new TextEncoder().encode("tap0"), option(0, 0));
    expect(read(concatBytes(section, description(0, name), enhanced(0, 1, 2, 3, 60)))).toEqual({
      packets: [
        {
          timestamp: (0x100000000n + 2n) * 1000n,
          linkType: LINK_TYPE_ETHERNET,
          bytes: Uint8Array.of(1, 2, 3),
          originalLength: 60,
          interfaceName: "tap0",
        },
      ],
      damage: undefined,
    });
  });

  test.each([
    [9, 5, 5n],
    [0, 5, 5_000_000_000n],
    [12, 5000, 5n],
    [0x80 | 1, 5, 2_500_000_000n],
  ])("time resolution %i", (resolution, low, timestamp) => {
    const tsresol = concatBytes(option(9, 1), Uint8Array.of(resolution, 0, 0, 0));
    const [packet] = read(concatBytes(section, description(0, tsresol), enhanced(0, 0, low, 3, 3))).packets;
    expect(packet?.timestamp).toBe(timestamp);
  });

  test("time offset in seconds", () => {
    const seconds = littleEndian ? words(true, 3, 0) : words(false, 0, 3);
    const [packet] = read(
      concatBytes(section, description(0, option(14, 8), seconds), enhanced(0, 0, 1, 3, 3)),
    ).packets;
    expect(packet?.timestamp).toBe(3_000_001_000n);
  });

  test("simple packets: the snap length says how much was captured", () => {
    const simple = (original: number) =>
      block(littleEndian, 3, words(littleEndian, original), Uint8Array.of(1, 2, 3, 4));
    const capture = read(concatBytes(section, description(4), simple(60), simple(3)));
    expect(capture.packets).toMatchObject([
      { timestamp: undefined, bytes: Uint8Array.of(1, 2, 3, 4), originalLength: 60 },
      { timestamp: undefined, bytes: Uint8Array.of(1, 2, 3), originalLength: 3 },
    ]);
    expect(read(concatBytes(section, description(0), simple(5))).damage).toMatchObject({ field: "length" });
    expect(read(concatBytes(section, simple(3))).damage).toMatchObject({ field: "interface" });
  });

  test("unknown blocks and options are skipped", () => {
    const unknown = block(littleEndian, 0x0bad, new Uint8Array(8));
    const comment = concatBytes(option(1, 3), Uint8Array.of(1, 2, 3, 0));
    const capture = read(
      concatBytes(section, unknown, description(0, comment), unknown, enhanced(0, 0, 0, 3, 3)),
    );
    expect(capture).toMatchObject({ packets: [{}], damage: undefined });
  });

  test("interfaces are counted anew in a new section, which may have the other byte order", () => {
    const before = concatBytes(section, description(0), description(0), enhanced(1, 0, 0, 3, 3));
    const after = concatBytes(pcapngHeader("other"), pcapngPacket(7n, Uint8Array.of(9)));
    expect(read(concatBytes(before, after)).packets).toMatchObject([
      { interfaceName: undefined },
      { interfaceName: "other", timestamp: 7n },
    ]);
    expect(read(concatBytes(before, section, enhanced(0, 0, 0, 3, 3))).damage).toMatchObject({
      field: "interface",
    });
  });

  test.each([
    ["header", "a stump", new Uint8Array(11)],
    ["length", "a length of 8", words(littleEndian, 6, 8, 8)],
    ["length", "a length that is no multiple of 4", words(littleEndian, 6, 13, 13, 13)],
    ["length", "a length beyond the end", words(littleEndian, 6, 0xfffffffc, 0)],
    ["length", "two lengths that differ", words(littleEndian, 6, 12, 16)],
    ["header", "an empty packet block", block(littleEndian, 6)],
    ["header", "an empty interface block", block(littleEndian, 1)],
    ["length", "a packet longer than its block", enhanced(0, 0, 0, 5, 5)],
    ["length", "a packet much longer than its block", enhanced(0, 0, 0, 0xffffffff, 5)],
    ["option", "an option longer than its block", description(0, option(2, 400))],
    [
      "version",
      "another version",
      block(littleEndian, 0x0a0d0d0a, words(littleEndian, 0x1a2b3c4d, 0x00020002, 0, 0)),
    ],
    [
      "byteOrder",
      "a section of no byte order",
      block(littleEndian, 0x0a0d0d0a, words(littleEndian, 1, 1, 0, 0)),
    ],
    ["header", "a section cut short", block(littleEndian, 0x0a0d0d0a, words(littleEndian, 0x1a2b3c4d))],
  ])("damage in %s: %s", (field, _, damage) => {
    const good = concatBytes(section, description(0), enhanced(0, 0, 0, 3, 3));
    const capture = read(concatBytes(good, damage));
    expect(capture.packets).toHaveLength(1);
    expect(capture.damage).toMatchObject({ layer: "pcapng", field });
    expect(capture.damage?.message).toContain(`at byte ${good.length}: `);
  });
});

describe("writing", () => {
  test("what is written is read back", () => {
    const packet = fc.record({
      timestamp: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      bytes: fc.uint8Array({ maxLength: 100, size: "max" }),
      more: fc.nat(1000),
    });
    fc.assert(
      fc.property(
        fc.array(packet),
        fc.option(fc.string({ unit: "grapheme" }), { nil: undefined }),
        (packets, name) => {
          const blocks = packets.map(({ timestamp, bytes, more }) =>
            pcapngPacket(timestamp, bytes, bytes.length + more),
          );
          expect(read(concatBytes(pcapngHeader(name), ...blocks))).toEqual({
            packets: packets.map(({ timestamp, bytes, more }) => ({
              timestamp,
              linkType: LINK_TYPE_ETHERNET,
              bytes,
              originalLength: bytes.length + more,
              interfaceName: name,
            })),
            damage: undefined,
          });
        },
      ),
    );
  });

  test("a time that does not fit is refused", () => {
    expect(() => pcapngPacket(2n ** 64n, windowsArpRequest())).toThrow("64 bits");
    expect(() => pcapngPacket(-1n, windowsArpRequest())).toThrow("64 bits");
  });
});

describe("any file", () => {
  test("that is no capture is an error", () => {
    expect(readCapture(new Uint8Array(3))).toMatchObject({ ok: false, error: { field: "magic" } });
    expect(readCapture(windowsArpRequest())).toEqual({
      ok: false,
      error: {
        layer: "pcap",
        field: "magic",
        message: "the file begins with 0xffffffff: neither pcap nor pcapng",
      },
    });
  });

  test("never throws, and no packet is longer than the file", () => {
    const good = concatBytes(
      pcapngHeader("tap0"),
      pcapngPacket(1n, windowsArpRequest()),
      pcapngPacket(2n, windowsArpRequest()),
    );
    const old = concatBytes(
      words(true, 0xa1b2c3d4, 0x00040002, 0, 0, 65535, 1),
      words(true, 1, 2, 42, 42),
      windowsArpRequest(),
    );
    const change = fc.record({ at: fc.nat(200), value: fc.integer({ min: 0, max: 255 }) });
    const damaged = fc
      .record({
        sample: fc.constantFrom(good, old),
        changes: fc.array(change, { maxLength: 4 }),
        length: fc.nat(300),
      })
      .map(({ sample, changes, length }) => {
        const bytes = sample.slice(0, length);
        for (const { at, value } of changes) if (at < bytes.length) bytes[at] = value;
        return bytes;
      });
    fc.assert(
      fc.property(damaged, (file) => {
        const capture = readCapture(file);
        if (!capture.ok) return;
        for (const { bytes } of capture.value.packets) expect(bytes.length).toBeLessThan(file.length);
      }),
      { numRuns: 3000 },
    );
  });
});
