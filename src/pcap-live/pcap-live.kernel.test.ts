import { execFileSync } from "node:child_process";
import { closeSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { waitFor } from "../lab/wait.ts";
import { inNetworkNamespace, makeNetworkNamespace } from "../linux/namespace.ts";
import { openTap, type Tap } from "../linux/tun.ts";
import { arpRequest } from "../packet/build.ts";
import { type Following, followCapture, type Wait } from "./follow.ts";
import { type Capture, type CaptureOptions, openCapture } from "./libpcap.ts";

const OPTIONS: CaptureOptions = {
  interfaceName: "tap0",
  filter: "arp and host 169.254.169.254",
  direction: "in",
  snapLength: 96,
  bufferSize: 1 << 18,
};

/** Who asks shows in the last byte of its address. */
const request = (guest: number, targetAddress = "169.254.169.254") =>
  arpRequest({ senderMac: "02:00:0a:00:01:03", senderAddress: `10.0.1.${guest}`, targetAddress });

let namespace: number;
let tap: Tap;
const sent: Buffer[] = [];
const open: Following[] = [];

const ip = (...args: string[]) => inNetworkNamespace(namespace, () => execFileSync("ip", args));
const openHere = (options: Partial<CaptureOptions> = {}) =>
  inNetworkNamespace(namespace, () => openCapture({ ...OPTIONS, ...options }));

/** Follows a capture; the list of who asked grows as packets come. */
function follow(capture: Capture, wait: Wait) {
  const askers: number[] = [];
  const errors: Error[] = [];
  const batches: number[] = [];
  const following = followCapture(
    capture,
    (packets) => {
      const before = askers.length;
      for (const { bytes } of packets) askers.push(bytes[31]!);
      batches.push(askers.length - before);
    },
    (error) => errors.push(error),
    wait,
  );
  open.push(following);
  return { askers, errors, batches, following };
}

beforeEach(() => {
  namespace = makeNetworkNamespace();
  sent.length = 0;
  tap = openTap(
    "tap0",
    (frame) => sent.push(frame),
    () => {},
    { namespaceFd: namespace },
  );
  ip("link", "set", "tap0", "up");
});
afterEach(async () => {
  await Promise.all(open.splice(0).map((one) => one.close()));
  tap.close();
  closeSync(namespace);
});

describe.each<Wait>(["epoll", "thread"])("a capture waited for by %s", (wait) => {
  it("has what passes the filter, from the first packet on and in order", async () => {
    const { askers } = follow(openHere(), wait);
    tap.send(request(1));
    await waitFor("packets", () => askers.length === 1);
    for (let guest = 2; guest <= 200; guest++) {
      tap.send(request(guest));
      tap.send(request(guest, "169.254.1.1"));
    }
    await waitFor("packets", () => askers.length === 200);
    expect(askers).toEqual(Array.from({ length: 200 }, (_, index) => index + 1));
  });

  it("ends when the interface is deleted", async () => {
    const { askers, errors } = follow(openHere(), wait);
    tap.send(request(1));
    await waitFor("packets", () => askers.length === 1);
    tap.close();
    await waitFor("the end", () => errors.length === 1);
    expect(errors[0]!.message).toMatch(/^tap0: /);
  });

  it("delivers nothing once it is closed", async () => {
    const { askers, following } = follow(openHere(), wait);
    tap.send(request(1));
    await waitFor("packets", () => askers.length === 1);
    await following.close();
    tap.send(request(2));
    expect(askers).toEqual([1]);
  });
});

it("hands over many packets at once", async () => {
  const capture = openHere();
  for (let guest = 1; guest <= 100; guest++) tap.send(request(guest));
  const { askers, batches } = follow(capture, "epoll");
  await waitFor("packets", () => askers.length === 100);
  expect(Math.max(...batches)).toBeGreaterThan(50);
});

it("counts what found no room, and bounds what it keeps", async () => {
  const capture = openHere({ bufferSize: 1 << 14 });
  for (let guest = 1; guest <= 200; guest++) tap.send(request(guest));
  const { askers } = follow(capture, "epoll");
  await waitFor("packets", () => capture.statistics().dropped + askers.length === 200);
  expect(capture.statistics().dropped).toBeGreaterThan(0);
  expect(askers[0]).toBe(1);
});

it("sends, and tells what is sent through it from what comes in", async () => {
  const { askers: coming } = follow(openHere(), "epoll");
  const sender = openHere({ direction: "out" });
  const { askers: going } = follow(sender, "epoll");
  const other = openHere();
  sender.send(request(7));
  other.send(request(8));
  tap.send(request(9));
  await waitFor("packets", () => coming.length > 0 && going.length > 0);
  other.close();
  expect(coming).toEqual([9]);
  // Its own are not among them.
  expect(going).toEqual([8]);
  const asked = (frame: Buffer) => frame.readUInt16BE(12) === 0x0806;
  await waitFor("packets", () => sent.filter(asked).length === 2);
});

it("keeps the beginning of a long packet, and its length and time", async () => {
  const capture = openHere({ filter: "udp", snapLength: 60, nanoseconds: true });
  const frame = Buffer.concat([
    Buffer.from("ffffffffffff0200000000020800", "hex"),
    Buffer.from("450000e400000000401100000a0001030a0001ff1f401f4000d00000", "hex"),
    Buffer.alloc(200),
  ]);
  const before = Date.now() / 1000;
  tap.send(frame);
  let packet: { seconds: number; length: number; originalLength: number } | undefined;
  open.push(
    followCapture(
      capture,
      (packets) => {
        for (const { seconds, bytes, originalLength } of packets)
          packet = { seconds, length: bytes.length, originalLength };
      },
      () => {},
    ),
  );
  await waitFor("packets", () => packet !== undefined);
  // libpcap's ring takes up to some bytes of it for itself.
  expect(packet!.length).toBeLessThanOrEqual(60);
  expect(packet!.length).toBeGreaterThan(50);
  expect(packet!.originalLength).toBe(frame.length);
  const age = packet!.seconds - before;
  expect(age > -5 && age < 60, `${age}`).toBe(true);
});

describe("what cannot be", () => {
  it("is an interface that is not there: it may come", () => {
    expect(() => openHere({ interfaceName: "tap9" })).toThrow(
      expect.objectContaining({
        isAbsence: true,
        message: expect.stringMatching(/^cannot capture on tap9: /),
      }),
    );
  });

  it("is an interface that is down: it may come up", () => {
    ip("link", "set", "tap0", "down");
    expect(() => openHere()).toThrow(expect.objectContaining({ isAbsence: true }));
  });

  it("is a wrong filter", () => {
    expect(() => openHere({ filter: "host" })).toThrow(/^cannot set the filter "host" on tap0: /);
  });

  it("is another kind of interface than Ethernet", () => {
    ip("tuntap", "add", "dev", "tun0", "mode", "tun");
    ip("link", "set", "tun0", "up");
    expect(() => openHere({ interfaceName: "tun0" })).toThrow("it does not carry Ethernet");
  });
});
