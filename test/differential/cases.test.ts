/** The model's list of cases, run through the loaded programs: the same verdict, frame and count for each line. */
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Settings, Vif } from "../../src/datapath/types.ts";
import { CASES, type Case, exampleState, PLAIN_VIF, VIF } from "../../src/model/cases.ts";
import { cloneState, flowKey, type ModelSettings, type ModelState } from "../../src/model/state.ts";
import { type StepInput, step } from "../../src/model/step.ts";
import type { Choices, Verdict } from "../../src/model/verdict.ts";
import { parseMac } from "../../src/packet/address.ts";
import { describeFrame } from "../../src/packet/describe.ts";
import { hexDump } from "../../src/packet/hex.ts";
import { type Kernel, openKernel } from "./kernel.ts";

/** Cases, by title, that stay with the model: the kernel takes no frame for a test run that is too short for its EtherType's header. */
const TOO_SHORT: ReadonlySet<string> = new Set([
  "nothing",
  "13 bytes",
  "33 bytes",
  "33 bytes of IPv4",
  "from the fabric: 33 bytes",
]);

/**
 * The programs' clock runs on during a case. Where a moment this much earlier (ns) makes no difference, that one is meant: so the last instant
 * of a timeout can be met.
 */
const SLACK = 500_000_000n;

let kernel: Kernel;
beforeAll(() => {
  kernel = openKernel();
});
afterAll(() => kernel.close());

/** Gives the programs what the model knows before the first frame. */
function configure(state: ModelState): void {
  const { datapath } = kernel;
  empty(datapath.services);
  empty(datapath.serviceAddresses);
  empty(datapath.backends);
  for (const [key, { backends, draining, ...service }] of state.services) {
    const [address, protocol, port] = key.split("/") as [string, "tcp" | "udp", string];
    datapath.services.set(
      { address, protocol, port: Number(port) },
      { ...service, backends: backends.length, drain: 0, drainEnds: draining ? 1n : 0n },
    );
    for (const [slot, backend] of backends.entries())
      datapath.backends.set({ service: service.id, slot }, backend);
  }
  for (const address of state.serviceAddresses) datapath.serviceAddresses.set(address, { services: 1 });
  const vifs = [...state.vifs].map(
    ([ifindex, { flows: _, defences: __, rejectAt: ___, ...vif }]) => [ifindex, vif] as const,
  );
  kernel.reset(new Map<number, Vif>(vifs), settingsOf(state.settings));
}

function empty<K>(map: { entries(): Array<[K, unknown]>; delete(key: K): boolean }): void {
  for (const [key] of map.entries()) map.delete(key);
}

function settingsOf({
  timeouts,
  fabricPorts,
  hostServiceAddress = "",
  ...settings
}: ModelSettings): Settings {
  return {
    ...settings,
    hostServiceAddress,
    hostDevice: kernel.interfaces.host,
    fabricPortMin: fabricPorts.min,
    fabricPortMax: fabricPorts.max,
    timeoutTcpSyn: timeouts.tcpOpening,
    timeoutTcpEstablished: timeouts.tcpEstablished,
    timeoutTcpClosing: timeouts.tcpClosing,
    timeoutUdp: timeouts.udpOpening,
    timeoutUdpAnswered: timeouts.udpEstablished,
    timeoutIcmp: timeouts.icmp,
    flowEvents: false,
  };
}

/** What a program did with a frame, and for which vifs it was counted. */
interface Outcome {
  verdict: Verdict["kind"];
  /** As sent or left; nobody sees a dropped one. */
  frame: string | undefined;
  reason: string | undefined;
  vifs: number[];
}

function readable(frame: Uint8Array): string {
  return `${describeFrame(frame)}\n${hexDump(frame)}`;
}

/** Runs a frame through a program. Undefined: the kernel takes no such frame for a test run. */
function run({ side, frame, ifindex }: StepInput): Outcome | undefined {
  const counted = () => {
    kernel.datapath.addCounts();
    return [VIF, PLAIN_VIF].map((vif) => Object.values(kernel.datapath.vifCounters(vif)!));
  };
  const before = counted();
  const result = kernel.run(side, frame, ifindex);
  if (result === undefined) return undefined;
  const after = counted();
  const verdicts: Record<number, Verdict["kind"]> = { [-1]: "untouched", 2: "drop", 7: "send" };
  const verdict = verdicts[result.verdict]!;
  return {
    verdict,
    frame: verdict === "drop" ? undefined : readable(result.frame),
    reason: result.reasons.length > 0 ? result.reasons.join(" ") : undefined,
    vifs: [VIF, PLAIN_VIF].filter((_, index) =>
      after[index]!.some(({ frames }, reason) => frames > before[index]![reason]!.frames),
    ),
  };
}

/** The frame as the programs are given it: what is for this host has the MAC of the interface there. */
function atKernel(input: StepInput): StepInput {
  if (input.side !== "fabric" || input.forThisHost === false) return input;
  const mac = parseMac(kernel.interfaces.fabricMac);
  const frame = input.frame.slice();
  if (mac.ok) frame.set(mac.value);
  return { ...input, frame };
}

/**
 * Takes model and programs through one frame. Ports are drawn, and the model is to draw the same: towards the fabric the programs are left one
 * port; what they draw towards the host is read from the flow.
 */
function takeBoth(state: ModelState, input: StepInput) {
  const trial = cloneState(state);
  step(trial, input);
  const opened = [...trial.flows].find(([key]) => !state.flows.has(key))?.[1];
  if (opened?.kind === "fabric") {
    const fabricPorts = { min: opened.natPort, max: opened.natPort };
    kernel.datapath.setSettings(settingsOf({ ...state.settings, fabricPorts }));
  }
  const actual = run(input);
  if (opened?.kind === "fabric") kernel.datapath.setSettings(settingsOf(state.settings));
  let drawn = false;
  const choices: Choices = {
    backend: () => 0,
    port({ min, max, taken }) {
      if (opened?.kind === "fabric") return opened.natPort;
      const found = kernel.flows().find(([key]) => !state.flows.has(flowKey(key)));
      if (found === undefined) return undefined;
      drawn = true;
      const port = found[1].opener === "guest" ? found[1].natPort : found[0].servicePort;
      return port >= min && port <= max && !taken(port) ? port : undefined;
    },
  };
  const expected = step(state, input, choices);
  return { actual, expected, drawn };
}

/** Moves the programs' clock from one frame to the next. */
function passTime(state: ModelState, input: StepInput, from: bigint): void {
  if (input.now === from) return;
  const outcomeAt = (now: bigint) => {
    const { verdict, reason } = step(cloneState(state), { ...input, now });
    return JSON.stringify({ verdict, reason });
  };
  const early = input.now - SLACK;
  kernel.advance((early > from && outcomeAt(early) === outcomeAt(input.now) ? early : input.now) - from);
}

function runCase({ given, before = [], input, verdict, reason, ...example }: Case): void {
  const state = exampleState();
  given?.(state);
  configure(state);
  let clock = (before[0] ?? input).now;
  for (const earlier of before.map(atKernel)) {
    passTime(state, earlier, clock);
    clock = earlier.now;
    takeBoth(state, earlier);
  }
  const last = atKernel(input);
  passTime(state, last, clock);
  const { actual, expected, drawn } = takeBoth(state, last);
  if (TOO_SHORT.has(example.title)) {
    expect(actual).toBeUndefined();
    return;
  }
  const vif = "vif" in example ? example.vif : reason === undefined ? undefined : input.ifindex;
  // Where a port was drawn the list has another one.
  const wanted = drawn ? expected.verdict : verdict;
  expect(actual).toEqual({
    verdict: verdict.kind,
    frame:
      wanted.kind === "send"
        ? readable(wanted.frame)
        : wanted.kind === "untouched"
          ? readable(last.frame)
          : undefined,
    reason,
    vifs: vif === undefined ? [] : [vif],
  } satisfies Outcome);
}

test.each(CASES)("$row: $title", runCase);
