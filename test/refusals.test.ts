/** What clients are told where there is nobody to answer: at once, by TCP or ICMP as their kernel understands it. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Guest, type Lab, openLab } from "../src/lab/lab.ts";
import type { LabProcess } from "../src/lab/process.ts";
import { startHttpServer } from "../src/lab/servers.ts";
import { interfaceIn, startAgent, statusOf } from "./support/agent.ts";
import { CURL, requestFrom } from "./support/commands.ts";
import { WEB } from "./support/guest.ts";

const SERVICE = "169.254.169.254";
/** Exit statuses of curl: refused, unreachable or reset while it connects; no answer in the time given. */
const REFUSED = 7;
const TIMED_OUT = 28;

let lab: Lab;
let guest: Guest;
let agent: LabProcess;

/** No route leads to it: such a backend is out of use. */
const NOWHERE = "203.0.113.1";
const config = (unknownPort: "reject" | "drop") => ({
  services: [
    { name: "web", address: SERVICE, port: 80, backends: ["127.0.0.1:8080"] },
    // Nobody listens at these, on the host and on the fabric.
    { name: "dead", address: SERVICE, port: 81, protocol: ["tcp", "udp"], backends: ["127.0.0.1:8081"] },
    { name: "dead-far", address: SERVICE, port: 82, protocol: ["tcp", "udp"], backends: ["192.0.2.10:8082"] },
    ...["reject", "drop", "pass"].map((whenNoBackend, index) => ({
      name: `none-${whenNoBackend}`,
      address: SERVICE,
      port: 90 + index,
      protocol: ["tcp", "udp"],
      backends: [`${NOWHERE}:80`],
      whenNoBackend,
    })),
  ],
  interfaces: [{ name: "vif-*" }],
  defaults: { unknownPort },
});

beforeAll(async () => {
  lab = await openLab();
  await lab.addFabric({ name: "fab0", hostAddress: "192.0.2.1/24", address: "192.0.2.10/24" });
  guest = await lab.addGuest({ ...WEB, behaviour: "routed" });
  await startHttpServer(lab.host, { address: "127.0.0.1", port: 8080 });
  agent = await startAgent(lab, config("reject"));
});
afterAll(() => lab?.close());

async function counted(reason: "unknown-port" | "no-backend" | "icmp-error"): Promise<number> {
  return Number(interfaceIn(await statusOf(lab), guest.vif)?.counters?.[reason].frames);
}

/** curl's exit status; a connection that nobody answers is given one second, so any other says that an answer came before. */
async function connect(port: number): Promise<number | null> {
  return (await guest.run([...CURL, "--connect-timeout", "1", `http://${SERVICE}:${port}/`])).code;
}

/** What dig says about a question over UDP, which it asks once and waits a second for. */
async function ask(port: number): Promise<"refused" | "timed out" | string> {
  const { stdout } = await guest.run([
    "dig",
    `@${SERVICE}`,
    "-p",
    `${port}`,
    "+time=1",
    "+tries=1",
    "a.test",
  ]);
  return /connection refused|timed out/.exec(stdout)?.[0] ?? stdout;
}

describe("refused at once", () => {
  test.each([
    ["a port without service", 9, "unknown-port"],
    ["a service without backend", 90, "no-backend"],
  ] as const)("%s: TCP and UDP", async (_title, port, reason) => {
    const before = await counted(reason);
    expect(await connect(port)).toBe(REFUSED);
    expect(await ask(port)).toBe("connection refused");
    expect(await counted(reason)).toBe(before + 2);
  });

  test.each([
    ["host-local", 81],
    ["fabric", 82],
  ])("a %s backend where nobody listens: its RST and its ICMP error come back", async (_kind, port) => {
    const before = await counted("icmp-error");
    expect(await connect(port)).toBe(REFUSED);
    expect(await ask(port)).toBe("connection refused");
    expect(await counted("icmp-error")).toBe(before + 1);
  });
});

test.each([
  ["drop", 91],
  ["pass", 92],
])("whenNoBackend %s: no answer from onlink", async (_policy, port) => {
  const before = await counted("no-backend");
  expect(await connect(port)).toBe(TIMED_OUT);
  expect(await ask(port)).toBe("timed out");
  expect(await counted("no-backend")).toBeGreaterThan(before + 1);
});

test("whenNoBackend pass: whoever has the address beyond answers", async () => {
  const before = await counted("no-backend");
  await lab.host.run(["ip", "address", "add", `${SERVICE}/32`, "dev", "lo"]);
  const server = await startHttpServer(lab.host, { address: SERVICE, port: 92 });
  expect((await requestFrom(guest, `http://${SERVICE}:92/`)).peer).toBe("10.0.1.3");
  expect(await counted("no-backend")).toBeGreaterThan(before);
  await server.stop();
  await lab.host.run(["ip", "address", "del", `${SERVICE}/32`, "dev", "lo"]);
});

test("unknownPort drop: silence", async () => {
  await agent.stop();
  await startAgent(lab, config("drop"));
  expect(await connect(9)).toBe(TIMED_OUT);
  expect(await ask(9)).toBe("timed out");
  expect((await requestFrom(guest, `http://${SERVICE}/`)).peer).toMatch(/^169\.254\.64\./);
});
