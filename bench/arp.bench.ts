/**
 * ARP replies: how many under a flood, what one costs the processor, and how long one takes. Beside onlink: the kernel where it
 * answers for an address of its own, the kernel as a proxy (proxy_arp), and farpd, which answers in user space.
 *
 * The flood is trafgen's, through a packet ring, so that only 14 bytes of each frame are in the linear part. It is bound to one
 * processor, on which all the work of the kernel is done too: what a reply costs is what a frame takes more than one that a filter
 * drops at once.
 */
import { test } from "vitest";
import { type Guest, type Lab, openLab } from "../src/lab/lab.ts";
import { arpRequest } from "../src/packet/build.ts";
import { startAgent } from "../test/support/agent.ts";
import { output, shell } from "../test/support/commands.ts";
import { WEB } from "../test/support/guest.ts";
import { runLoad, waitForArpReply } from "./load.ts";
import { median } from "./median.ts";
import { record } from "./record.ts";
import { rounds } from "./rounds.ts";

const ROUNDS = 5;
/** Frames of one flood. */
const FRAMES = 400_000;
/** Requests that are timed one by one in a round; one takes farpd a quarter of a second. */
const SINGLES = { onlink: 500, kernel: 500, proxy_arp: 500, farpd: 8 };
const PROCESSOR = "1";

const SERVICE = "169.254.169.254";
const ADDRESS = {
  onlink: SERVICE,
  kernel: "10.0.1.1",
  proxy_arp: "198.51.100.9",
  farpd: "10.0.1.77",
  dropped: "10.0.1.1",
};
type WayName = keyof typeof ADDRESS;

async function openGuest(): Promise<{ lab: Lab; guest: Guest }> {
  const lab = await openLab();
  const guest = await lab.addGuest(WEB);
  return { lab, guest };
}

/** Each on a host of its own. */
async function openAll(): Promise<Record<WayName, { lab: Lab; guest: Guest }>> {
  const all = {
    onlink: await openGuest(),
    kernel: await openGuest(),
    proxy_arp: await openGuest(),
    farpd: await openGuest(),
    dropped: await openGuest(),
  };
  await startAgent(all.onlink.lab, {
    services: [{ name: "web", address: SERVICE, port: 80, backends: ["127.0.0.1:8080"] }],
    interfaces: [{ name: "vif-*" }],
  });
  await all.proxy_arp.lab.addFabric({
    name: "fab0",
    hostAddress: "198.51.100.1/24",
    address: "198.51.100.9/24",
  });
  await shell(
    all.proxy_arp.lab.host,
    "echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv4/conf/vif-web/proxy_arp; echo 0 >/proc/sys/net/ipv4/neigh/vif-web/proxy_delay",
  );
  await all.farpd.lab.host.start(["farpd", "-d", "-i", "vif-web", ADDRESS.farpd]);
  await output(all.dropped.lab.host, ["nft", "-f", "-"], {
    input:
      'table netdev ceiling { chain frames { type filter hook ingress device "vif-web" priority 0; policy drop; }; }\n',
  });
  return all;
}

/** One flood; how many frames and replies a second. */
async function flood(guest: Guest, address: string): Promise<{ frames: number; replies: number }> {
  const request = arpRequest({ senderMac: guest.mac, senderAddress: "10.0.1.3", targetAddress: address });
  const received = async () =>
    JSON.parse(await output(guest, ["ip", "-stats", "-json", "link", "show", "eth0"]))[0].stats64.rx.packets;
  const before = await received();
  const args = ["--dev", "eth0", "--conf", "-", "--cpus", "1", "--num", String(FRAMES)];
  const { code, stdout, stderr } = await guest.run(["taskset", "-c", PROCESSOR, "trafgen", ...args], {
    input: `{ ${[...request].join(", ")} }\n`,
    cwd: "/run",
  });
  const took = /(\d+) sec, (\d+) usec on CPU/.exec(stdout + stderr);
  if (code !== 0 || took === null) throw new Error(`trafgen: ${stdout}${stderr}`);
  const seconds = Number(took[1]) + Number(took[2]) / 1e6;
  return { frames: FRAMES / seconds, replies: ((await received()) - before) / seconds };
}

test("ARP replies", async () => {
  const all = await openAll();
  try {
    const answering = Object.keys(SINGLES) as Array<keyof typeof SINGLES>;
    // Before the floods: farpd works on what they leave in its queue for a long time.
    const timeOf = (name: keyof typeof SINGLES) => async () => {
      const { guest } = all[name];
      await waitForArpReply(guest, ADDRESS[name]);
      return (await runLoad(guest, "arp", "eth0", ADDRESS[name], String(SINGLES[name]))).p50;
    };
    record({
      part: "arp",
      work: "Time of one reply, p50",
      unit: "us",
      values: await rounds(ROUNDS, Object.fromEntries(answering.map((name) => [name, timeOf(name)]))),
      targets: [{ way: "onlink", against: "kernel", bound: "at most", limit: 1.1 }],
      notes: ["16,384 us is as far as the generator tells times apart: farpd takes longer."],
    });
    const times: Record<WayName, number[]> = {
      onlink: [],
      kernel: [],
      proxy_arp: [],
      farpd: [],
      dropped: [],
    };
    const replies = (name: WayName) => async () => {
      const { frames, replies } = await flood(all[name].guest, ADDRESS[name]);
      times[name].push(1e9 / frames);
      return name === "dropped" ? frames : replies;
    };
    const { dropped, ...rates } = await rounds(ROUNDS, {
      onlink: replies("onlink"),
      kernel: replies("kernel"),
      proxy_arp: replies("proxy_arp"),
      farpd: replies("farpd"),
      dropped: replies("dropped"),
    });
    record({
      part: "arp",
      work: "Replies under a flood",
      unit: "replies/s",
      values: rates,
      targets: [
        { way: "onlink", against: "kernel", bound: "at least", limit: 1 },
        { way: "onlink", against: "farpd", bound: "at least", limit: 25 },
      ],
      notes: [
        `The generator alone, its frames dropped by a filter at the vif: median ${Math.round(median(dropped)).toLocaleString("en")} frames/s.`,
      ],
    });
    const idle = median(times.dropped);
    const costs = (name: WayName) => times[name].slice(1).map((time) => Math.max(0, time - idle));
    record({
      part: "arp",
      work: "Processor time of a reply",
      unit: "ns",
      values: { onlink: costs("onlink"), kernel: costs("kernel"), proxy_arp: costs("proxy_arp") },
      targets: [{ way: "onlink", against: "kernel", bound: "at most", limit: 1 }],
      notes: [
        "What a frame of the flood takes more than one that is dropped, generator and kernel on one processor.",
      ],
    });
  } finally {
    for (const { lab } of Object.values(all)) await lab.close();
  }
});
