import fc from "fast-check";
import { expect, test } from "vitest";
import { arpProbe, udpFrame } from "./build.ts";
import { concatBytes } from "./bytes.ts";
import { fragmentFrame } from "./fragment.ts";
import { frameErrors } from "./frame.ts";
import { parseIpv4 } from "./ipv4.ts";

const ENDS = {
  sourceMac: "02:00:0a:00:01:03",
  destinationMac: "00:00:5e:00:01:00",
  source: "10.0.1.3",
  destination: "169.254.169.254",
  sourcePort: 40001,
  destinationPort: 53,
};

function packetOf(frame: Uint8Array) {
  const packet = parseIpv4(frame.subarray(14));
  if (!packet.ok) throw new Error(packet.error.message);
  return packet.value;
}

test("the parts make up the whole", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 200, size: "max" }),
      fc.integer({ min: 1, max: 20 }),
      (data, words) => {
        const whole = udpFrame({ ...ENDS, data, ip: { identification: 77 } });
        const fragments = fragmentFrame(whole, words * 8);
        for (const fragment of fragments) expect(frameErrors(fragment)).toEqual([]);
        const packets = fragments.map(packetOf);
        expect(concatBytes(...packets.map(({ payload }) => payload))).toEqual(packetOf(whole).payload);
        expect(packets.map(({ fragmentOffset }) => fragmentOffset)).toEqual(
          packets.map((_, n) => n * words * 8),
        );
        expect(packets.map(({ moreFragments }) => moreFragments)).toEqual(
          packets.map((_, n) => n < packets.length - 1),
        );
        expect(new Set(packets.map(({ identification }) => identification))).toEqual(new Set([77]));
      },
    ),
  );
});

test("fragments of a fragment keep its place", () => {
  const [, middle] = fragmentFrame(udpFrame({ ...ENDS, data: new Uint8Array(100) }), 48);
  expect(fragmentFrame(middle!, 24).map(packetOf)).toMatchObject([
    { fragmentOffset: 48, moreFragments: true },
    { fragmentOffset: 72, moreFragments: true },
  ]);
});

test("what cannot be split is refused", () => {
  const frame = udpFrame(ENDS);
  expect(() => fragmentFrame(frame, 12)).toThrow("fragment size 12 is not a positive multiple of 8");
  expect(() => fragmentFrame(frame, 0)).toThrow(RangeError);
  expect(() => fragmentFrame(frame.subarray(0, 10), 8)).toThrow("Ethernet header");
  expect(() => fragmentFrame(frame.subarray(0, 30), 8)).toThrow("IPv4 header");
  expect(() => fragmentFrame(udpFrame({ ...ENDS, ip: { options: new Uint8Array(4) } }), 8)).toThrow(
    "IP options",
  );
  expect(() => fragmentFrame(arpProbe({ senderMac: ENDS.sourceMac, targetAddress: "10.0.1.3" }), 8)).toThrow(
    "only IPv4",
  );
});
