import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { checkCapabilities } from "../agent/host-checks.ts";
import { runtimePaths } from "../agent/runtime-dir.ts";
import { probeDatapath } from "../datapath/probe.ts";
import type { RequestSeen } from "../lab/http-server.ts";
import { type Guest, type Lab, type Namespace, openLab } from "../lab/lab.ts";
import { labProblems, missingTools } from "../lab/requirements.ts";
import { startHttpServer } from "../lab/servers.ts";
import type { GuestSpec } from "../lab/topology.ts";
import { CommandError, DEFAULT_RUNTIME_DIR } from "./config.ts";
import {
  type Answer,
  COMMANDS,
  findFaults,
  formatObservation,
  formatSummary,
  type Observation,
  SERVICE_ADDRESS,
} from "./demo-report.ts";
import { EXIT } from "./exit-codes.ts";
import { paintFor } from "./paint.ts";

/** Exit status of a command that a signal ended is this and the signal's number, as shells have it. */
const EXIT_SIGNAL = 128;

/** Where the service really runs. */
const BACKEND = { address: "127.0.0.1", port: 8775 };

/** The guests of the problem as it was first described, with their addresses. */
const GUESTS: readonly GuestSpec[] = [
  { name: "linux", link: "veth", behaviour: "routed", address: "10.0.1.3/24", gateway: "10.0.1.1" },
  { name: "windows", link: "veth", behaviour: "on-link", address: "10.0.0.10/24", gateway: "10.0.0.1" },
];

const CONFIG = `services:
  - name: metadata
    address: ${SERVICE_ADDRESS}
    port: 80
    backends: ["${BACKEND.address}:${BACKEND.port}"]
interfaces:
  - name: "vif-*"
`;

/** The configuration as the lab's host sees it; /run is the lab's own. */
const CONFIG_FILE = "/run/demo.yaml";

const ONLINK = fileURLToPath(new URL("../../bin/onlink", import.meta.url));

/** Longer than the kernel takes to give an ARP request up: 3 requests, 1 s apart (mcast_solicit, retrans_time_ms). */
const ARP_TIMEOUT = 8_000;

const paint = paintFor(process.stdout);

/**
 * The demo for real: two guests in namespaces of their own, without onlink and then with it. Throws a `CommandError` when what
 * they see is not as it should be. Everything is gone when it returns, throws or is interrupted. `labDemoProblems` must be empty.
 */
export async function demoInLab(): Promise<number> {
  const began = performance.now();
  const interrupt = new AbortController();
  const onSignal = (_name: string, number: number) => interrupt.abort(number);
  process.once("SIGINT", onSignal).once("SIGTERM", onSignal);
  try {
    const faults = await showInLab(interrupt.signal);
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    if (faults.length > 0)
      throw new CommandError(["not as it should be:", ...faults].join("\n  "), EXIT.failed);
    print(`${paint.good("As it should be")}, after ${seconds} s. Everything that was made is gone again.`);
    return EXIT.ok;
  } catch (error) {
    // Processes of the lab that end early complain, but that is not the reason.
    if (!interrupt.signal.aborted) throw error;
    const exitCode = EXIT_SIGNAL + (interrupt.signal.reason as number);
    throw new CommandError("interrupted; everything that was made is gone again", exitCode);
  } finally {
    process.off("SIGINT", onSignal).off("SIGTERM", onSignal);
  }
}

/** Why the demo cannot run here, a sentence with its mend for each reason; found by trying. Empty when it can. */
export function labDemoProblems(): string[] {
  const problems = [...labProblems(), ...missingTools([["curl", "curl"]])];
  if (problems.length > 0) return problems;
  const capabilities = checkCapabilities(runtimePaths(DEFAULT_RUNTIME_DIR).pins);
  if (!capabilities.ok)
    return [
      `capabilities ${capabilities.detail}, as for root of a container; run it on the host, or in a privileged container`,
    ];
  return probeDatapath()
    .filter(({ ok }) => !ok)
    .map(({ name, detail, mend }) => `${name}: ${detail}${mend === undefined ? "" : `; ${mend}`}`);
}

/** Opens the lab, shows, and closes it whatever happens. Closing it is also what ends a show that is interrupted. */
async function showInLab(interrupted: AbortSignal): Promise<string[]> {
  await using lab = await openLab();
  interrupted.throwIfAborted();
  interrupted.addEventListener("abort", () => void lab.close());
  return await show(lab, interrupted);
}

/** The demo itself; returns what was not as it should be. */
async function show(lab: Lab, interrupted: AbortSignal): Promise<string[]> {
  const guests = await lab.addGuests(GUESTS);
  await startHttpServer(lab.host, BACKEND);
  interrupted.throwIfAborted();
  print(
    `A host has an HTTP service on its ${BACKEND.address}:${BACKEND.port} and two guests, all in network`,
  );
  print(`namespaces of their own. The guests are to reach it at http://${SERVICE_ADDRESS}/.\n`);

  print(paint.heading("1. Without onlink"));
  print("Both guests try; ARP gives up after 3 s ...\n");
  const before = await Promise.all(
    guests.map((guest) => observe(guest, guest.behaviour === "on-link" ? untilArpFailed : ask)),
  );
  interrupted.throwIfAborted();
  for (const seen of before) print(formatObservation(seen, paint));

  print(paint.heading("2. With onlink"));
  print(`$ onlink run --config ${CONFIG_FILE} &\n$ cat ${CONFIG_FILE}\n${CONFIG}`);
  writeFileSync(join(lab.root, CONFIG_FILE), CONFIG);
  const agent = await lab.host.start([process.execPath, ONLINK, "run", "--config", CONFIG_FILE]);
  await agent.waitForLine(/"msg":"ready"/);
  const after = await Promise.all(guests.map((guest) => observe(guest, ask)));
  interrupted.throwIfAborted();
  for (const seen of after) print(formatObservation(seen, paint));

  print(formatSummary(before, after));
  return findFaults(before, after);
}

/** Lets the guest make its request, then looks at its tables. */
async function observe(guest: Guest, request: (guest: Namespace) => Promise<Answer>): Promise<Observation> {
  const { behaviour, address, gateway } = guest;
  const answer = await request(guest);
  const routes = await lines(guest, COMMANDS.routes);
  const neighbours = await lines(guest, COMMANDS.neighbours);
  return { behaviour, address, gateway, routes, neighbours, answer };
}

/** Asks the service over HTTP. */
async function ask(guest: Namespace): Promise<Answer> {
  const [curl, ...rest] = COMMANDS.request;
  const options = ["--silent", "--show-error", "--write-out", "%{stderr}%{http_code}"];
  const { code, stdout, stderr } = await guest.run([curl, ...options, ...rest]);
  if (code !== 0) return { error: stderr.split("\n")[0] ?? "" };
  const { peer } = JSON.parse(stdout) as RequestSeen;
  return { status: Number(stderr), seenFrom: peer };
}

/** Asks the service, and waits until the kernel has given its address up: that is later than the request. */
async function untilArpFailed(guest: Namespace): Promise<Answer> {
  const monitor = await guest.start(["ip", "-4", "monitor", "neigh"]);
  const [answer] = await Promise.all([
    ask(guest),
    monitor.waitForLine(new RegExp(`^${SERVICE_ADDRESS} .*FAILED`), ARP_TIMEOUT),
  ]);
  await monitor.stop();
  return answer;
}

async function lines(guest: Namespace, command: readonly string[]): Promise<string[]> {
  const { stdout } = await guest.run(command);
  return stdout.split("\n").flatMap((line) => (line.trim() === "" ? [] : [line.trim()]));
}

function print(text: string): void {
  console.log(text);
}
