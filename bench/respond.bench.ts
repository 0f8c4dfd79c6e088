/**
 * The responder in user space beside farpd, which does the same work: replies under a flood, the time of one, and what they take while nobody
 * asks. The flood is that of arp.bench.ts.
 */
import { readFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { test } from "vitest";
import type { Guest, Lab } from "../src/lab/lab.ts";
import { openLab } from "../src/lab/lab.ts";
import type { LabProcess } from "../src/lab/process.ts";
import { waitFor } from "../src/lab/wait.ts";
import { arpRequest } from "../src/packet/build.ts";
import { ONLINK } from "../test/support/agent.ts";
import { output } from "../test/support/commands.ts";
import { WEB } from "../test/support/guest.ts";
import { runLoad, waitForArpReply } from "./load.ts";
import { record } from "./record.ts";
import { rounds } from "./rounds.ts";

const ROUNDS = 3;
/** Frames of one flood. */
const FRAMES = 600_000;
/** Requests that are timed one by one in a round; farpd takes half a second and more for one. */
const SINGLES = { respond: 300, farpd: 5 };
/** How long nobody asks, in ms. */
const IDLE = 2000;
/** Of the generator: the responder has the other one. */
const PROCESSOR = "1";

const ADDRESS = { respond: "169.254.169.254", farpd: "10.0.1.77" };
type WayName = keyof typeof ADDRESS;

interface Way {
  lab: Lab;
  guest: Guest;
  responder: LabProcess;
}

async function openWay(start: (lab: Lab, guest: Guest) => Promise<LabProcess>): Promise<Way> {
  const lab = await openLab();
  const guest = await lab.addGuest(WEB);
  return { lab, guest, responder: await start(lab, guest) };
}

/** One flood; how many replies came a second. */
async function flood({ guest }: Way, address: string): Promise<number> {
  const request = arpRequest({ senderMac: guest.mac, senderAddress: "10.0.1.3", targetAddress: address });
  const received = async () =>
    JSON.parse(await output(guest, ["ip", "-stats", "-json", "link", "show", "eth0"]))[0].stats64.rx.packets;
  const before = await received();
  const began = performance.now();
  await output(
    guest,
    [
      "taskset",
      "-c",
      PROCESSOR,
      "trafgen",
      "--dev",
      "eth0",
      "--conf",
      "-",
      "--cpus",
      "1",
      "--num",
      String(FRAMES),
    ],
    { input: `{ ${[...request].join(", ")} }\n`, cwd: "/run" },
  );
  const seconds = (performance.now() - began) / 1000;
  return ((await received()) - before) / seconds;
}

/** Milliseconds of processor time that a process took so far (proc_pid_stat(5): user and system, in ticks of 10 ms). */
async function processorTime({ responder }: Way): Promise<number> {
  const stat = await readFile(`/proc/${responder.pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return 10 * (Number(fields[11]) + Number(fields[12]));
}

/** Waits until a responder has worked off what a flood left in its queue, so that it is not in the way of the other. */
async function settle(way: Way): Promise<void> {
  let before = -1;
  const isIdle = async () => {
    const after = await processorTime(way);
    const idle = after === before;
    before = after;
    if (!idle) await delay(300);
    return idle;
  };
  await waitFor("the end of the work", isIdle, 120_000);
}

test("the responder in user space", async () => {
  const ways: Record<WayName, Way> = {
    respond: await openWay(async (lab, { vif }) => {
      const args = ["respond", "--interface", vif, "--address", ADDRESS.respond];
      const started = await lab.host.start([process.execPath, ONLINK, ...args]);
      await started.waitForLine(/"msg":"ready"/);
      return started;
    }),
    // It writes a line for each frame, which nobody is to read: that would take the processor from both.
    farpd: await openWay((lab, { vif }) =>
      lab.host.start([
        "/bin/sh",
        "-c",
        'exec "$@" >/dev/null 2>&1',
        "sh",
        "farpd",
        "-d",
        "-i",
        vif,
        ADDRESS.farpd,
      ]),
    ),
  };
  const inTurn = (measure: (name: WayName) => Promise<number>) =>
    rounds(ROUNDS, { respond: () => measure("respond"), farpd: () => measure("farpd") });
  try {
    // Before the floods: farpd works on what they leave in its queue for a long time.
    record({
      part: "respond",
      work: "Time of one reply, p50",
      unit: "us",
      values: await inTurn(async (name) => {
        const { guest } = ways[name];
        await waitForArpReply(ways[name].guest, ADDRESS[name]);
        return (await runLoad(guest, "arp", "eth0", ADDRESS[name], String(SINGLES[name]))).p50;
      }),
      targets: [],
      notes: [
        "The first reply, which the responder holds back until it knows that nobody else answers, is not among them.",
        "16,384 us is as far as the generator tells times apart: farpd takes half a second, as long as its libpcap collects packets.",
      ],
    });
    record({
      part: "respond",
      work: "Processor time while nobody asks",
      unit: "ms/s",
      values: await inTurn(async (name) => {
        const before = await processorTime(ways[name]);
        await delay(IDLE);
        return ((await processorTime(ways[name])) - before) / (IDLE / 1000);
      }),
      targets: [{ way: "respond", bound: "at most", limit: 0 }],
      notes: ["In ticks of 10 ms."],
    });
    record({
      part: "respond",
      work: "Replies under a flood",
      unit: "replies/s",
      values: await inTurn(async (name) => {
        await waitForArpReply(ways[name].guest, ADDRESS[name]);
        const replies = await flood(ways[name], ADDRESS[name]);
        await settle(ways[name]);
        return replies;
      }),
      targets: [{ way: "respond", against: "farpd", bound: "at least", limit: 10 }],
      notes: ["The generator has one processor of its own, the responder the other."],
    });
  } finally {
    for (const { lab } of Object.values(ways)) await lab.close();
  }
});
