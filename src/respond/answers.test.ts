import { describe, expect, it } from "vitest";
import { BROADCAST_MAC } from "../packet/address.ts";
import { parseArp } from "../packet/arp.ts";
import {
  arpAnnouncement,
  arpProbe,
  arpReply,
  arpRequest,
  echoReply,
  echoRequest,
  tcpFrame,
  udpFrame,
} from "../packet/build.ts";
import { describeFrame } from "../packet/describe.ts";
import { windowsArpRequest } from "../packet/fixtures.ts";
import { fragmentFrame } from "../packet/fragment.ts";
import { TCP_FLAG } from "../packet/tcp.ts";
import {
  type AnswerSettings,
  answerState,
  ask,
  askFilter,
  elsewhereFilter,
  readElsewhere,
} from "./answers.ts";

const SERVICE = "169.254.169.254";
const MAC = "02:00:00:00:00:09";
const GUEST = { senderMac: "02:00:0a:00:01:03", senderAddress: "10.0.1.3" };
const SETTINGS: AnswerSettings = { mac: MAC, addresses: [SERVICE], echo: false, arpReply: "unicast" };
const S = 1_000_000_000n;

/** What is said to frames, one after the other; by default a second apart. */
function talk(settings: AnswerSettings, frames: Uint8Array[], apart = S) {
  const state = answerState(settings);
  return frames.map((frame, index) => ask(state, settings, frame, BigInt(index + 1) * apart));
}
const first = (settings: AnswerSettings, frame: Uint8Array) => talk(settings, [frame])[0];

describe("ask", () => {
  it("answers what Windows asks, with the MAC that it was given", () => {
    const asked = first(SETTINGS, windowsArpRequest());
    expect(asked).toMatchObject({
      subject: `arp ${SERVICE}`,
      address: SERVICE,
      reason: "arp-reply",
      asker: { mac: "02:21:87:a4:05:0c", address: "172.31.0.7" },
    });
    expect(describeFrame(asked!.reply!)).toBe(
      `${MAC} > 02:21:87:a4:05:0c, ARP reply ${SERVICE} is-at ${MAC}, length 42`,
    );
  });

  it("answers by broadcast where that is asked for", () => {
    const asked = first({ ...SETTINGS, arpReply: "broadcast" }, windowsArpRequest());
    expect(describeFrame(asked!.reply!)).toContain(`${MAC} > ${BROADCAST_MAC}, ARP reply`);
  });

  it("answers a probe, so that the host takes another address", () => {
    const asked = first(SETTINGS, arpProbe({ senderMac: GUEST.senderMac, targetAddress: SERVICE }));
    expect(asked).toMatchObject({ reason: "arp-probe-reply", asker: { address: "0.0.0.0" } });
    const reply = parseArp(asked!.reply!.subarray(14));
    expect(reply.ok && reply.value.senderAddress).toBe(SERVICE);
  });

  it("defends an address against a claim, once in 10 s", () => {
    const claim = arpAnnouncement({ senderMac: GUEST.senderMac, address: SERVICE });
    const claimed = talk(SETTINGS, Array(22).fill(claim));
    expect(claimed.every((asked) => asked?.reason === "arp-conflict")).toBe(true);
    expect(claimed.flatMap((asked, second) => (asked?.reply ? [second] : []))).toEqual([0, 10, 20]);
    expect(describeFrame(claimed[0]!.reply!)).toBe(
      `${MAC} > ${BROADCAST_MAC}, ARP announcement ${SERVICE} is-at ${MAC}, length 42`,
    );
    expect(claimed[0]!.asker).toEqual({ mac: GUEST.senderMac, address: SERVICE });
  });

  it("takes the reply of another responder for a claim as well", () => {
    const other = arpReply({
      senderMac: "02:00:00:00:00:08",
      senderAddress: SERVICE,
      targetMac: GUEST.senderMac,
      targetAddress: "10.0.1.3",
    });
    expect(first(SETTINGS, other)?.reason).toBe("arp-conflict");
  });

  it("answers for the gateway where asked", () => {
    const request = arpRequest({ ...GUEST, targetAddress: "10.0.1.1" });
    expect(first(SETTINGS, request)).toBeUndefined();
    const settings = { ...SETTINGS, gateway: "10.0.1.1" };
    expect(first(settings, request)).toMatchObject({ subject: "arp 10.0.1.1", reason: "arp-gateway" });
  });

  const packet = {
    sourceMac: GUEST.senderMac,
    destinationMac: MAC,
    source: "10.0.1.3",
    destination: SERVICE,
  };
  const echo = echoRequest({ ...packet, identifier: 7, sequence: 1, data: new Uint8Array(3000) });

  it("answers echo where asked", () => {
    expect(first(SETTINGS, echo)).toBeUndefined();
    const asked = first({ ...SETTINGS, echo: true }, echo);
    expect(asked).toMatchObject({
      subject: `echo ${SERVICE}`,
      reason: "echo-reply",
      asker: { mac: GUEST.senderMac, address: "10.0.1.3" },
    });
    expect(describeFrame(asked!.reply!)).toContain(`${SERVICE} > 10.0.1.3: ICMP echo reply, id 7`);
  });

  it("answers each fragment of an echo request", () => {
    const fragments = fragmentFrame(echo, 1480);
    expect(fragments.length).toBe(3);
    for (const asked of talk({ ...SETTINGS, echo: true }, fragments)) expect(asked?.reply).toBeDefined();
  });

  const nothing: Array<[string, Uint8Array]> = [
    ["a request for another address", arpRequest({ ...GUEST, targetAddress: "169.254.1.2" })],
    ["a reply about another address", arpReply({ ...GUEST, targetMac: MAC, targetAddress: SERVICE })],
    [
      "TCP to the service address",
      tcpFrame({ ...packet, sourcePort: 40000, destinationPort: 80, flags: TCP_FLAG.syn }),
    ],
    [
      "UDP to the service address",
      udpFrame({ ...packet, sourcePort: 40000, destinationPort: 53, data: new Uint8Array(9) }),
    ],
    ["an echo reply", echoReply({ ...packet, identifier: 7, sequence: 1 })],
    ["an ARP packet that is cut short", windowsArpRequest().subarray(0, 30)],
    ["nothing", new Uint8Array(0)],
  ];
  it.each(nothing)("leaves %s alone", (_what, frame) => {
    expect(first({ ...SETTINGS, echo: true, gateway: "10.0.1.1" }, frame)).toBeUndefined();
  });
});

describe("readElsewhere", () => {
  it("tells what was answered, and from which MAC", () => {
    const reply = arpReply({
      senderMac: MAC,
      senderAddress: SERVICE,
      targetMac: GUEST.senderMac,
      targetAddress: "10.0.1.3",
    });
    expect(readElsewhere(reply)).toEqual({ subject: `arp ${SERVICE}`, address: SERVICE, mac: MAC });
    const echo = echoReply({
      sourceMac: MAC,
      destinationMac: GUEST.senderMac,
      source: SERVICE,
      destination: "10.0.1.3",
      identifier: 1,
      sequence: 1,
    });
    expect(readElsewhere(echo)).toEqual({ subject: `echo ${SERVICE}`, address: SERVICE, mac: MAC });
    expect(readElsewhere(new Uint8Array(5))).toBeUndefined();
  });
});

it("has the kernel let through only what may be answered", () => {
  const settings = { ...SETTINGS, addresses: [SERVICE, "169.254.169.253"], gateway: "10.0.1.1", echo: true };
  expect(askFilter(settings)).toBe(
    "not ether src 02:00:00:00:00:09 and ((arp and host (169.254.169.254 or 169.254.169.253)) or (arp and dst host 10.0.1.1) or (icmp and dst host (169.254.169.254 or 169.254.169.253)))",
  );
  expect(elsewhereFilter(settings)).toBe(
    "(arp and src host (169.254.169.254 or 169.254.169.253 or 10.0.1.1) and (arp[6:2] = 2 or arp[14:4] = arp[24:4])) or (icmp[icmptype] = icmp-echoreply and src host (169.254.169.254 or 169.254.169.253 or 10.0.1.1))",
  );
  expect(askFilter(SETTINGS)).toBe("not ether src 02:00:00:00:00:09 and ((arp and host (169.254.169.254)))");
});
