import fc from "fast-check";
import { expect, test } from "vitest";
import { CASES, exampleState, NOW, VIF } from "./cases.ts";
import { describeVerdict } from "./describe.ts";
import { REASONS } from "./reasons.ts";
import { type StepInput, step } from "./step.ts";

/** The sentence for an example of the list. */
function sentence(title: string): string {
  const { given, before = [], input } = CASES.find((example) => example.title === title)!;
  const state = exampleState();
  given?.(state);
  for (const earlier of before) step(state, earlier);
  return describeVerdict(input, step(state, input));
}

test.each([
  [
    "a Windows guest asks for the metadata service",
    "ARP request for 169.254.169.254: answered with 00:00:5e:00:01:00 (A1)",
  ],
  [
    "a probe for a service address meets its owner",
    "ARP probe for 169.254.169.254: answered with 00:00:5e:00:01:00 (A2)",
  ],
  [
    "a claim of a service address is answered with its announcement",
    "ARP announcement of 169.254.169.254 at 02:00:0a:00:01:03: answered with an ARP announcement of 169.254.169.254 at 00:00:5e:00:01:00, the guest claims a service address for itself (A3)",
  ],
  [
    "another 169.254 address",
    "ARP request for 169.254.169.250: left alone, ARP that is not about a service address (A5)",
  ],
  [
    "41 bytes",
    "ARP that is cut short or not for IPv4 over Ethernet: left alone, ARP that is not about a service address (A5)",
  ],
  ["TCP to a host", "TCP 10.0.1.3:40000 > 192.0.2.80:80: left alone, not for a service address (I1)"],
  ["IPv6", "IPv6: left alone, neither ARP nor IPv4 of a vif"],
  ["13 bytes", "frame of 13 bytes: left alone, neither ARP nor IPv4 of a vif"],
  ["802.1Q", "frame of VLAN 7: left alone, VLAN-tagged frames are not looked into (V)"],
  [
    "UDP to a fabric backend leaves from a reserved port",
    "UDP 10.0.1.3:40000 > 169.254.169.253:53: sent to fabric interface 9 as UDP 198.51.100.7:61000 > 192.0.2.53:53 (I2)",
  ],
  [
    "the answer carries the service's hop limit",
    "TCP 127.0.0.1:8080 > 169.254.64.5:40000: sent to vif 5 as TCP 169.254.169.254:80 > 10.0.1.3:40000 (I2)",
  ],
  [
    "a ping keeps TOS, id and options",
    "ICMP echo request 10.0.1.3 > 169.254.169.254: answered with an echo reply (I3)",
  ],
  [
    "a SYN to a port without service",
    "TCP 10.0.1.3:40000 > 169.254.169.254:8080: answered with a RST, the address has no service on that port or protocol (I4)",
  ],
  [
    "UDP: port unreachable, which quotes header, options and 8 bytes",
    "UDP 10.0.1.3:40000 > 169.254.169.254:53: answered with ICMP port unreachable, the address has no service on that port or protocol (I4)",
  ],
  [
    "a service without backends passes",
    "TCP 10.0.1.3:40000 > 169.254.169.254:83: left alone, the service has no backend (I4)",
  ],
  [
    "a later one that comes first",
    "later fragment 10.0.1.3 > 169.254.169.253: dropped, a later fragment without its first one (I5)",
  ],
  ["ihl 4", "IPv4 with a wrong header: dropped, a header lies about a length or an address (I9)"],
  [
    "7 bytes of UDP",
    "UDP with a wrong header 10.0.1.3 > 169.254.169.254: dropped, a header lies about a length or an address (I9)",
  ],
  [
    "from the fabric: an answer to a flow that is not there",
    "UDP 192.0.2.53:53 > 198.51.100.7:61001: left alone, not of a flow",
  ],
])("%s", (title, line) => {
  expect(sentence(title)).toBe(line);
});

test("every example's sentence names the row of its reason", () => {
  for (const { title, reason } of CASES)
    if (reason !== undefined) expect(sentence(title)).toContain(`(${REASONS[reason].row})`);
});

test("every reason is met by an example", () => {
  const met = new Set(CASES.map(({ reason }) => reason));
  expect(Object.keys(REASONS).filter((reason) => !met.has(reason as keyof typeof REASONS))).toEqual([]);
});

test("any frame gives one line", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), (frame) => {
      const input: StepInput = { side: "vif", ifindex: VIF, frame, now: NOW };
      expect(describeVerdict(input, step(exampleState(), input))).toMatch(/^.+: .+$/);
    }),
  );
});
