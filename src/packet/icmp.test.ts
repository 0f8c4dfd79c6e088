import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { tcpFrame } from "./build.ts";
import { encodeIcmp, encodeQuotedPacket, ICMP_TYPE, parseIcmp, parseQuotedPacket } from "./icmp.ts";

describe("messages", () => {
  test("echo", () => {
    const bytes = Uint8Array.of(8, 0, 0xab, 0xcd, 0, 7, 0, 1, 0x70);
    const parsed = parseIcmp(bytes);
    expect(parsed).toEqual({
      ok: true,
      value: {
        kind: "echo",
        type: ICMP_TYPE.echoRequest,
        code: 0,
        checksum: 0xabcd,
        identifier: 7,
        sequence: 1,
        data: Uint8Array.of(0x70),
      },
    });
    expect(parsed.ok && parsed.value.kind === "echo" && parsed.value.data.buffer).toBe(bytes.buffer);
  });

  test("an error with the next-hop MTU", () => {
    expect(parseIcmp(Uint8Array.of(3, 4, 0, 0, 0, 0, 0x05, 0x78, 0x45))).toMatchObject({
      ok: true,
      value: { kind: "error", code: 4, parameter: 1400, quoted: Uint8Array.of(0x45) },
    });
  });

  test.each([3, 4, 5, 11, 12])("type %i is an error and quotes a packet", (type) => {
    expect(parseIcmp(Uint8Array.of(type, 0, 0, 0, 0, 0, 0, 0, 0x45))).toMatchObject({
      ok: true,
      value: { kind: "error", type, quoted: Uint8Array.of(0x45) },
    });
  });

  test("any other", () => {
    expect(parseIcmp(Uint8Array.of(13, 0, 0, 0, 0, 1, 0, 2, 9))).toMatchObject({
      ok: true,
      value: { kind: "other", type: 13, parameter: 0x10002, data: Uint8Array.of(9) },
    });
  });

  test("cut short", () => {
    expect(parseIcmp(new Uint8Array(7))).toMatchObject({
      ok: false,
      error: { layer: "icmp", field: "header" },
    });
  });

  test("any bytes: never a throw, encoded as they were", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 40, size: "max" }),
        fc.constantFrom(0, 3, 5, 8, 11, 12, 13, 42),
        (bytes, type) => {
          bytes.fill(type, 0, 1);
          const parsed = parseIcmp(bytes);
          expect(parsed.ok).toBe(bytes.length >= 8);
          if (parsed.ok) expect(encodeIcmp(parsed.value)).toEqual(bytes);
        },
      ),
    );
  });
});

describe("quoted packets", () => {
  const packet = tcpFrame({
    sourceMac: "02:00:0a:00:01:03",
    destinationMac: "00:00:5e:00:01:00",
    source: "10.0.1.3",
    destination: "169.254.169.254",
    sourcePort: 40000,
    destinationPort: 80,
  }).subarray(14);

  test("eight bytes of the transport tell the flow", () => {
    const quoted = packet.subarray(0, 28);
    expect(parseQuotedPacket(quoted)).toMatchObject({
      ok: true,
      value: {
        ipv4: { source: "10.0.1.3", totalLength: 40 },
        transport: { kind: "tcp", sourcePort: 40000, destinationPort: 80, rest: { length: 4 } },
      },
    });
    expect(parseQuotedPacket(quoted.subarray(0, 27))).toMatchObject({
      ok: false,
      error: { layer: "icmp", field: "quoted" },
    });
  });

  test("a later fragment has no ports", () => {
    const fragment = packet.slice();
    fragment[7] = 1;
    expect(parseQuotedPacket(fragment)).toMatchObject({ ok: true, value: { transport: { kind: "other" } } });
  });

  test("a quoted echo request is parsed", () => {
    const echo = packet.slice();
    echo.set([1], 9);
    echo.set([8, 0, 0, 0, 0, 7, 0, 1], 20);
    expect(parseQuotedPacket(echo)).toMatchObject({
      ok: true,
      value: { transport: { kind: "icmp", message: { kind: "echo", identifier: 7, sequence: 1 } } },
    });
  });

  test("whatever is parsed is encoded as it was", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 40, size: "max" }),
        fc.constantFrom(1, 6, 17, 47),
        fc.constantFrom(0, 0x20, 0x01),
        fc.integer({ min: 0, max: 40 }),
        (noise, protocol, fragment, length) => {
          const bytes = Uint8Array.from([...packet.subarray(0, 20), ...noise]).subarray(0, length);
          if (bytes.length >= 20) bytes.set([fragment, 0, 64, protocol], 6);
          const parsed = parseQuotedPacket(bytes);
          if (parsed.ok) expect(encodeQuotedPacket(parsed.value)).toEqual(bytes);
        },
      ),
      { numRuns: 500 },
    );
  });
});
