import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DNS_ADDRESS, dnsAnswer } from "./dns-answer.ts";

const A = 1;
const TXT = 16;
const AAAA = 28;

/** A query with the recursion-desired bit, as dig sends it without EDNS. */
function query(name: string, type: number): Buffer {
  const labels = name.split(".").flatMap((label) => [Buffer.of(label.length), Buffer.from(label)]);
  return Buffer.concat([
    Buffer.from("abcd01000001000000000000", "hex"),
    ...labels,
    Buffer.of(0, 0, type, 0, 1),
  ]);
}

describe("dnsAnswer", () => {
  test("an A query, byte for byte", () => {
    expect(dnsAnswer(query("a.test", A), "10.0.1.3")?.toString("hex")).toBe(
      "abcd8500000100010000000001610474657374000001" +
        "0001c00c00010001" +
        `0000003c0004${Buffer.from(DNS_ADDRESS.split(".").map(Number)).toString("hex")}`,
    );
  });

  test("a TXT query tells the client's address", () => {
    const answer = dnsAnswer(query("who.test", TXT), "169.254.64.7")!;
    expect(answer.readUInt16BE(6)).toBe(1);
    expect(answer.subarray(-13).toString("latin1")).toBe("\x0c169.254.64.7");
  });

  test("a type without records gets an empty answer", () => {
    const answer = dnsAnswer(query("a.test", AAAA), "10.0.1.3")!;
    expect(answer.readUInt16BE(6)).toBe(0);
    expect(answer[3]! & 0x0f).toBe(0);
  });

  test("a name that asks for a size gets it, give or take the lengths of the strings", () => {
    fc.assert(
      fc.property(fc.integer({ min: 100, max: 20_000 }), (size) => {
        const { length } = dnsAnswer(query(`size-${size}.test`, TXT), "10.0.1.3")!;
        expect(length).toBeGreaterThanOrEqual(size);
        expect(length).toBeLessThanOrEqual(size + 1 + size / 255);
      }),
    );
  });

  test("what is no query gets no answer", () => {
    const good = query("a.test", A);
    const response = Buffer.from(good);
    response[2]! |= 0x80;
    const twoQuestions = Buffer.from(good);
    twoQuestions[5] = 2;
    expect(dnsAnswer(response, "10.0.1.3")).toBeUndefined();
    expect(dnsAnswer(twoQuestions, "10.0.1.3")).toBeUndefined();
    for (let length = 0; length < good.length; length++)
      expect(dnsAnswer(good.subarray(0, length), "10.0.1.3"), `first ${length} bytes`).toBeUndefined();
  });

  test("any bytes after the header make no error, nor a question that was not there", () => {
    const header = query("a.test", A).subarray(0, 12);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        const asked = Buffer.concat([header, bytes]);
        const answer = dnsAnswer(asked, "10.0.1.3");
        if (answer !== undefined) expect(asked.includes(answer.subarray(12, 17))).toBe(true);
      }),
    );
  });
});
