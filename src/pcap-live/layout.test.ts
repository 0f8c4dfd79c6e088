import { endianness } from "node:os";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { concatBytes } from "../packet/bytes.ts";
import {
  decodeStatistics,
  encodeQueue,
  pcapPlatform,
  readBatch,
  takeQueueLength,
  timestampOf,
} from "./layout.ts";

const littleEndian = endianness() === "LE";

/** Numbers of 32 bits as the machine has them in memory. */
function words(...values: number[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(4 * values.length));
  for (const [index, value] of values.entries()) view.setUint32(4 * index, value, littleEndian);
  return new Uint8Array(view.buffer);
}

describe("the systems", () => {
  it.each([
    ["linux", "libpcap.so.0.8", "file"],
    ["darwin", "/usr/lib/libpcap.A.dylib", "file"],
    ["win32", "C:\\Windows\\System32\\Npcap\\wpcap.dll", "queue"],
  ])("has %s", (system, library, batch) => {
    const platform = pcapPlatform(system);
    expect(platform?.libraries[0]).toBe(library);
    expect(platform?.batch).toBe(batch);
    expect(platform?.mend).not.toBe("");
  });

  it("knows no others", () => expect(pcapPlatform("aix")).toBeUndefined());
});

describe("a batch", () => {
  // On Linux and macOS: what pcap_dump writes. On Windows: struct pcap_pkthdr, a timeval of two longs of 32 bits and two u_ints.
  it("is read as it lies in memory", () => {
    const batch = concatBytes(
      words(1_795_357_952, 51_574, 4, 60),
      Uint8Array.of(1, 2, 3, 4),
      words(1, 999_999, 0, 0),
    );
    expect([...readBatch(batch, 1000)]).toEqual([
      {
        seconds: 1_795_357_952,
        nanoseconds: 51_574_000,
        bytes: Uint8Array.of(1, 2, 3, 4),
        originalLength: 60,
      },
      { seconds: 1, nanoseconds: 999_999_000, bytes: new Uint8Array(0), originalLength: 0 },
    ]);
  });

  it("has fractions of a second in nanoseconds where the capture has them", () => {
    const [packet] = readBatch(words(1, 123_456_789, 0, 0), 1);
    expect(timestampOf(packet!)).toBe(1_123_456_789n);
  });

  it("gives back every packet that was put into it", () => {
    const packet = fc.record({
      seconds: fc.integer({ min: 0, max: 0xffffffff }),
      micros: fc.integer({ min: 0, max: 999_999 }),
      bytes: fc.uint8Array({ maxLength: 100 }),
      longer: fc.nat(65_535),
    });
    fc.assert(
      fc.property(fc.array(packet, { maxLength: 20 }), (packets) => {
        const batch = concatBytes(
          ...packets.flatMap(({ seconds, micros, bytes, longer }) => [
            words(seconds, micros, bytes.length, bytes.length + longer),
            bytes,
          ]),
        );
        expect([...readBatch(batch, 1000)]).toEqual(
          packets.map(({ seconds, micros, bytes, longer }) => ({
            seconds,
            nanoseconds: micros * 1000,
            bytes,
            originalLength: bytes.length + longer,
          })),
        );
      }),
    );
  });
});

describe("Npcap's send queue", () => {
  it("is laid out as struct pcap_send_queue, and empty once it was taken", () => {
    const queue = encodeQueue(0x1234_5678_9abcn, 4096);
    const view = new DataView(queue.buffer, queue.byteOffset, queue.length);
    expect(view.getUint32(0, littleEndian)).toBe(4096);
    expect(view.getUint32(4, littleEndian)).toBe(0);
    expect(view.getBigUint64(8, littleEndian)).toBe(0x1234_5678_9abcn);

    view.setUint32(4, 77, littleEndian);
    expect(takeQueueLength(queue)).toBe(77);
    expect(takeQueueLength(queue)).toBe(0);
  });
});

it("reads what every system has of struct pcap_stat", () => {
  expect(decodeStatistics(words(10, 3, 0))).toEqual({ received: 10, dropped: 3 });
  expect(decodeStatistics(words(10, 3, 0, 1, 2, 4))).toEqual({ received: 10, dropped: 3 });
});
