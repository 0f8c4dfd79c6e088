/** `onlink trace` on what tcpdump captured of a working guest: it must say what the datapath did. */
import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { InJson } from "../src/api/json.ts";
import type { ReplayedPacket } from "../src/cli/replay.ts";
import type { TraceSummary } from "../src/cli/trace.ts";
import type { Guest, Lab } from "../src/lab/lab.ts";
import { startDnsServer, startHttpServer } from "../src/lab/servers.ts";
import { waitFor } from "../src/lab/wait.ts";
import { CONFIG_FILE, onlink, startAgent, statusOf } from "./support/agent.ts";
import { CURL, dig, output } from "./support/commands.ts";
import { openLabWithGuest } from "./support/guest.ts";

const SERVICE = "169.254.169.254";
const MARK = "last";
const CAPTURE = "/run/guest.pcap";

let lab: Lab;
let guest: Guest;

beforeAll(async () => {
  ({ lab, guest } = await openLabWithGuest());
  await startHttpServer(lab.host, { address: "127.0.0.1", port: 8080 });
  await startDnsServer(lab.host, { address: "127.0.0.1", port: 5353 });
  await startAgent(lab, {
    services: [
      { name: "web", address: SERVICE, port: 80, backends: ["127.0.0.1:8080"] },
      { name: "dns", address: SERVICE, port: 53, protocol: "udp", backends: ["127.0.0.1:5353"] },
    ],
    interfaces: [{ name: guest.vif, addresses: ["10.0.1.3"] }],
  });
});
afterAll(() => lab?.close());

test("each frame of the guest gets the verdict that the datapath counted", async () => {
  // In the guest, since what the datapath answers itself is not seen by a capture on the vif.
  const tcpdump = await guest.start([
    "tcpdump",
    "-i",
    "eth0",
    "--immediate-mode",
    "-U",
    "-s",
    "100",
    "-w",
    CAPTURE,
  ]);
  await tcpdump.waitForLine(/listening on eth0/);
  const before = (await statusOf(lab)).counters;
  await output(guest, [...CURL, `http://${SERVICE}/bytes/20000`, "--output", "/dev/null"]);
  await dig(guest, SERVICE, "a.example");
  await guest.run(["curl", "--silent", "--max-time", "1", `http://${SERVICE}:81/`]);
  // The last frame carries a mark, so that tcpdump is stopped only when it has written all of them.
  await output(guest, ["ping", "-c1", "-W5", "-p", Buffer.from(MARK).toString("hex"), SERVICE]);
  await waitFor("the capture of the last frame", async () =>
    (await readFile(lab.root + CAPTURE)).includes(MARK + MARK),
  );
  await tcpdump.stop("SIGINT");
  const after = (await statusOf(lab)).counters;

  const { code, stdout, stderr } = await onlink(
    lab,
    ...["trace", CAPTURE, "--json", "--config", CONFIG_FILE, "--interface", guest.vif],
  );
  expect(code, stderr).toBe(0);
  const lines = stdout
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
  const { summary } = lines.pop() as { summary: TraceSummary };
  const packets = lines as Array<InJson<ReplayedPacket>>;
  expect(summary.frames).toBe(packets.length);
  expect(summary.flowsOpened).toBe(2);

  const counted = Object.entries(after).flatMap(([reason, { frames }]) => {
    const difference = Number(frames) - Number(before[reason as keyof typeof before].frames);
    return difference === 0 || reason === "returned" ? [] : [[reason, difference]];
  });
  const traced = summary.verdicts.flatMap(({ reason, frames }) =>
    reason === undefined ? [] : [[reason, frames]],
  );
  expect(new Map(traced as Array<[string, number]>)).toEqual(new Map(counted as Array<[string, number]>));
  expect(traced.map(([reason]) => reason)).toEqual(
    expect.arrayContaining(["arp-reply", "forwarded", "echo-reply", "unknown-port"]),
  );
  // What came back over flows is known for an answer.
  const answers = packets.filter(({ sentence }) => sentence === "not from the guest: answers a flow");
  expect(answers.length).toBe(Number(after.returned.frames) - Number(before.returned.frames));
  expect(packets.some(({ length, captured }) => captured === 100 && Number(length) > 1000)).toBe(true);
});
