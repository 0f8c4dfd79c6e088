/** What the datapath reports, as the operator gets it: the log, the counters and `onlink events`. */
import { afterAll, beforeAll, expect, test } from "vitest";
import type { EventBody } from "../src/api/events.ts";
import type { Guest, Lab } from "../src/lab/lab.ts";
import type { LabProcess } from "../src/lab/process.ts";
import { startHttpServer } from "../src/lab/servers.ts";
import { CONFIG_FILE, ONLINK, onlink, startAgent, statusOf } from "./support/agent.ts";
import { output, requestFrom } from "./support/commands.ts";
import { openLabWithGuest } from "./support/guest.ts";

const SERVICE = "169.254.169.254";

let lab: Lab;
let guest: Guest;
let agent: LabProcess;

beforeAll(async () => {
  ({ lab, guest } = await openLabWithGuest());
  await startHttpServer(lab.host, { address: "127.0.0.1", port: 8080 });
  agent = await startAgent(lab, {
    services: [{ name: "web", address: SERVICE, port: 80, backends: ["127.0.0.1:8080"] }],
    interfaces: [{ name: guest.vif, addresses: ["10.0.1.3"] }],
    limits: { flowsPerInterface: 1 },
  });
});
afterAll(() => lab?.close());

async function eventsNow(): Promise<EventBody[]> {
  const { code, stdout, stderr } = await onlink(lab, "events", "--json", "--config", CONFIG_FILE);
  expect(code, stderr).toBe(0);
  return stdout
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line));
}

function follow(...options: string[]): Promise<LabProcess> {
  return lab.host.start([
    process.execPath,
    ONLINK,
    "events",
    "--follow",
    ...options,
    "--config",
    CONFIG_FILE,
  ]);
}

test("a guest that claims a service address, or sends from another's, is reported while it happens", async () => {
  const started = Date.now();
  const follower = await follow();
  await output(guest, ["ip", "address", "add", "10.9.9.9/32", "dev", "eth0"]);
  await output(guest, ["ip", "address", "add", `${SERVICE}/32`, "dev", "eth0"]);
  await guest.run(["arping", "-U", "-c1", "-w1", "-I", "eth0", SERVICE]);
  const conflict = await follower.waitForLine(/ conflict /);
  expect(conflict).toMatch(
    new RegExp(`^\\S+Z {2}${guest.vif} +conflict +([0-9a-f]{2}:){5}[0-9a-f]{2} claims ${SERVICE}$`),
  );
  const time = Date.parse(conflict.split(" ", 1)[0]!);
  expect(time).toBeGreaterThanOrEqual(started - 10);
  expect(time).toBeLessThanOrEqual(Date.now() + 10);
  await output(guest, ["ip", "address", "del", `${SERVICE}/32`, "dev", "eth0"]);

  await guest.run(["curl", "--silent", "--max-time", "1", "--interface", "10.9.9.9", `http://${SERVICE}/`]);
  expect(await follower.waitForLine(/ spoofed /)).toContain(`tcp 10.9.9.9 > ${SERVICE} from `);
  await follower.stop("SIGINT");

  const kinds = (await eventsNow()).map(({ kind }) => kind);
  expect(new Set(kinds)).toEqual(new Set(["conflict", "spoofed"]));
  await agent.waitForLine(/"a guest claims a service address"/);
  await agent.waitForLine(/"a guest uses a source address that is not its own"/);
  const { counters } = await statusOf(lab);
  expect(Number(counters["arp-conflict"].frames)).toBe(kinds.filter((kind) => kind === "conflict").length);
  expect(Number(counters.spoofed.frames)).toBe(kinds.filter((kind) => kind === "spoofed").length);
});

test("flows opened, refused and closed are reported to those who ask for them, with what went over them", async () => {
  const follower = await follow("--flows", "--json");
  // The stream begins with the events of before: then the agent is listening for flows.
  await follower.waitForLine(/"spoofed"/);
  await requestFrom(guest, `http://${SERVICE}/`, "--local-port", "40000");
  const opened = JSON.parse(await follower.waitForLine(/"flow-opened"/));
  expect(opened).toMatchObject({
    interface: guest.vif,
    protocol: "tcp",
    guest: "10.0.1.3",
    guestPort: 40000,
    service: SERVICE,
    servicePort: 80,
    backend: "127.0.0.1",
    backendPort: 8080,
  });

  // One flow at most, and that one is still closing.
  await guest.run(["curl", "--silent", "--max-time", "1", "--local-port", "40001", `http://${SERVICE}/`]);
  expect(JSON.parse(await follower.waitForLine(/"limit"/))).toMatchObject({ guestPort: 40001 });

  const closed = JSON.parse(await follower.waitForLine(/"flow-closed"/, 30_000));
  const { kind: _, time: __, ...about } = opened;
  expect(closed).toMatchObject(about);
  for (const side of ["framesOut", "bytesOut", "framesIn", "bytesIn"])
    expect(closed[side]).toBeGreaterThan(3);

  expect((await eventsNow()).map(({ kind }) => kind)).not.toContain("flow-opened");
  await follower.stop("SIGINT");
});

test("the stream ends with an error when the agent stops", async () => {
  const follower = await follow("--flows");
  await follower.waitForLine(/ spoofed /);
  expect(await agent.stop()).toEqual({ code: 0, signal: null });
  expect((await follower.ended).code).toBe(1);
  expect(follower.stderr()).toMatch(/^onlink: the agent on \S+ ended the stream: it stopped, or/);
});
