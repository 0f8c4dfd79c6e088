import { execFileSync } from "node:child_process";
import { closeSync } from "node:fs";
import { afterEach, beforeEach, expect, it } from "vitest";
import { inNetworkNamespace, makeNetworkNamespace } from "./namespace.ts";
import { openRtnetlink, type Rtnetlink } from "./rtnetlink.ts";
import { openTap, type Tap } from "./tun.ts";

/** who-has 10.9.0.1 tell 10.9.0.2, broadcast from 02:00:00:00:00:02. */
const ARP_REQUEST = Buffer.from(
  "ffffffffffff0200000000020806" + "0001080006040001" + "0200000000020a090002" + "0000000000000a090001",
  "hex",
);

let namespace: number;
let network: Rtnetlink;
let tap: Tap;
let frames: Buffer[];
let onFrame: () => void;
let gone: Promise<Error>;

const ip = (...args: string[]) => inNetworkNamespace(namespace, () => execFileSync("ip", args));

/** The first frame that matches, among those that came and those to come. */
async function frame(match: (frame: Buffer) => boolean): Promise<Buffer> {
  for (;;) {
    const found = frames.find(match);
    if (found) {
      return found;
    }
    await new Promise<void>((resolve) => {
      onFrame = resolve;
    });
  }
}

beforeEach(() => {
  namespace = makeNetworkNamespace();
  network = inNetworkNamespace(namespace, openRtnetlink);
  frames = [];
  onFrame = () => {};
  gone = new Promise((resolve) => {
    const collect = (frame: Buffer) => {
      frames.push(frame);
      onFrame();
    };
    tap = openTap("tap%d", collect, resolve, { namespaceFd: namespace });
  });
  ip("link", "set", tap.name, "up");
  ip("addr", "add", "10.9.0.1/24", "dev", tap.name);
});

afterEach(() => {
  tap.close();
  network.close();
  closeSync(namespace);
});

it("sends frames to the kernel and receives what it sends", async () => {
  expect(tap.name).toBe("tap0");
  expect(network.link("tap0")).toMatchObject({ type: "tun", up: true, hardware: 1 });
  tap.send(ARP_REQUEST);
  const reply = await frame((frame) => frame.readUInt16BE(12) === 0x0806);
  expect(reply.subarray(0, 6).toString("hex")).toBe("020000000002");
  expect(reply.readUInt16BE(20)).toBe(2);
  expect(reply.subarray(28, 32).join(".")).toBe("10.9.0.1");
});

it("deletes the device when it is closed, once", () => {
  tap.close();
  expect(network.link("tap0")).toBeUndefined();
  tap.close();
});

it("tells when somebody else has deleted the device", async () => {
  network.deleteLink(network.link("tap0")!.ifindex);
  expect((await gone).message).toBe("cannot read from the tap tap0; has it been deleted?");
});

it("says which name cannot be had", () => {
  const open = (name: string) =>
    openTap(
      name,
      () => {},
      () => {},
      { namespaceFd: namespace },
    );
  expect(() => open("tap0")).toThrow(/^cannot make the tap tap0; .* \(ioctl: EBUSY\)$/);
  expect(() => open("a-name-of-sixteen")).toThrow("a name has at most 15 bytes");
});
