import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  attribute,
  attributeText,
  attributeU32,
  decodeAttributes,
  decodeMessages,
  decodeOutcome,
  encodeMessage,
  type Message,
  NLM_F,
  NLMSG,
  nested,
  readU32,
  text,
  writeU32,
} from "./netlink.ts";

const u16 = fc.integer({ min: 0, max: 0xffff });
const u32 = fc.integer({ min: 0, max: 0xffffffff });
const bytes = fc.uint8Array({ maxLength: 50 }).map((array) => Buffer.from(array));
const message: fc.Arbitrary<Message> = fc.record({
  type: u16,
  flags: u16,
  sequence: u32,
  port: u32,
  payload: bytes,
});
const attributeType = fc.integer({ min: 0, max: 0x3fff });

describe("messages", () => {
  it("come back as they were, several in one read", () => {
    fc.assert(
      fc.property(fc.array(message, { maxLength: 5 }), (messages) => {
        expect(decodeMessages(Buffer.concat(messages.map(encodeMessage)))).toEqual(messages);
      }),
    );
  });

  it("are laid out as struct nlmsghdr, padded to 4", () => {
    const encoded = encodeMessage({
      type: 18,
      flags: 0x301,
      sequence: 7,
      port: 0,
      payload: Buffer.from([1, 2, 3]),
    });
    // As a little-endian machine has it.
    expect(encoded.toString("hex")).toBe(`13000000${"1200"}${"0103"}${"07000000"}${"00000000"}${"01020300"}`);
  });

  it("are refused when cut off anywhere but between two of them", () => {
    fc.assert(
      fc.property(message, fc.nat(), (whole, seed) => {
        const encoded = encodeMessage(whole);
        const cut = 1 + (seed % (15 + whole.payload.length));
        expect(() => decodeMessages(encoded.subarray(0, cut))).toThrow(/^netlink message at byte 0: length/);
      }),
    );
  });

  it("of any bytes are read or refused with an explanation, and reading ends", () => {
    fc.assert(
      fc.property(bytes, (any) => {
        try {
          decodeMessages(any);
        } catch (error) {
          expect((error as Error).message).toMatch(
            /^netlink message at byte \d+: length \d+, but \d+ bytes are there$/,
          );
        }
      }),
    );
  });
});

describe("attributes", () => {
  it("come back as they were", () => {
    const attributes = fc.uniqueArray(fc.tuple(attributeType, bytes), { selector: ([type]) => type });
    fc.assert(
      fc.property(attributes, (list) => {
        const encoded = Buffer.concat(list.map(([type, value]) => attribute(type, value)));
        expect(decodeAttributes(encoded)).toEqual(new Map(list));
      }),
    );
  });

  it("nest, and lose their flag bits", () => {
    fc.assert(
      fc.property(attributeType, attributeType, u32, (outer, inner, value) => {
        const encoded = nested(outer, attributeU32(inner, value));
        const content = decodeAttributes(encoded).get(outer)!;
        expect(readU32(decodeAttributes(content).get(inner)!)).toBe(value);
      }),
    );
  });

  it("hold texts that end with a zero byte", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), (value) => {
        fc.pre(!value.includes("\0"));
        const decoded = decodeAttributes(attributeText(3, value)).get(3)!;
        expect(decoded.at(-1)).toBe(0);
        expect(text(decoded)).toBe(value);
      }),
    );
    expect(text(Buffer.from("no end"))).toBe("no end");
  });

  it("are refused when one claims more than is there", () => {
    expect(() => decodeAttributes(attributeU32(1, 1).subarray(0, 7))).toThrow(
      "netlink attribute at byte 0: length 8, but 7 bytes are there",
    );
    expect(() => decodeAttributes(Buffer.alloc(4))).toThrow(
      "netlink attribute at byte 0: length 0, but 4 bytes are there",
    );
  });
});

describe("outcomes", () => {
  const request = encodeMessage({ type: 16, flags: 5, sequence: 1, port: 0, payload: Buffer.alloc(10) });
  const words = attributeText(1, "Attribute failed policy validation");
  const outcome = (type: number, flags: number, errno: number, ...rest: Buffer[]) => {
    const number = Buffer.alloc(4);
    writeU32(number, -errno >>> 0);
    return decodeOutcome({ type, flags, sequence: 1, port: 0, payload: Buffer.concat([number, ...rest]) });
  };

  it("with errno 0 are acknowledgements", () => {
    expect(outcome(NLMSG.ERROR, NLM_F.CAPPED, 0, request.subarray(0, 16))).toEqual({
      errno: 0,
      text: undefined,
    });
  });

  it("have the kernel's words behind the whole request, its header, or the error number", () => {
    const expected = { errno: 22, text: "Attribute failed policy validation" };
    expect(outcome(NLMSG.ERROR, NLM_F.ACK_TLVS, 22, request, words)).toEqual(expected);
    expect(outcome(NLMSG.ERROR, NLM_F.ACK_TLVS | NLM_F.CAPPED, 22, request.subarray(0, 16), words)).toEqual(
      expected,
    );
    expect(outcome(NLMSG.DONE, NLM_F.ACK_TLVS, 22, words)).toEqual(expected);
  });

  it("take the repeated request for no words", () => {
    expect(outcome(NLMSG.ERROR, 0, 1, request)).toEqual({ errno: 1, text: undefined });
  });

  it("without an error number are refused", () => {
    expect(() =>
      decodeOutcome({ type: NLMSG.DONE, flags: 0, sequence: 1, port: 0, payload: Buffer.alloc(2) }),
    ).toThrow("netlink message of type 3: 2 bytes where an error number should be");
  });
});
