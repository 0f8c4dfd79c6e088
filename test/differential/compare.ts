/** The same sequence through the model and the loaded programs; the first difference is the answer. */
import type { Settings, Vif } from "../../src/datapath/types.ts";
import {
  flowKey,
  type ModelFlow,
  type ModelState,
  newState,
  setService,
  setVif,
  type Target,
} from "../../src/model/state.ts";
import { type StepInput, step } from "../../src/model/step.ts";
import type { Choices, Side } from "../../src/model/verdict.ts";
import { GATEWAY_MAC } from "../../src/packet/address.ts";
import { echoReply, icmpError, tcpFrame, udpFrame } from "../../src/packet/build.ts";
import { describeFrame } from "../../src/packet/describe.ts";
import { parseFrame } from "../../src/packet/frame.ts";
import { hexDump, toHex } from "../../src/packet/hex.ts";
import {
  BACKEND,
  damagedFrame,
  FABRIC_SOURCE,
  HOST_MAC,
  METADATA_ADDRESSES,
  ROUTER_MAC,
  SERVICES,
  type Sequence,
  type Step,
} from "./generate.ts";
import type { Kernel } from "./kernel.ts";

const NS_PER_S = 1_000_000_000n;
const TIMEOUTS = {
  tcpOpening: 60,
  tcpEstablished: 7200,
  tcpClosing: 10,
  udpOpening: 30,
  udpEstablished: 180,
  icmp: 10,
};

const VERDICTS: Record<number, string> = { [-1]: "untouched", 2: "drop", 7: "send" };

/** Writes the services of the test into the programs' maps. They never change. */
export function configure(kernel: Kernel): void {
  const { datapath, interfaces } = kernel;
  for (const [id, service] of services(interfaces.fabric).entries()) {
    service.backends.forEach((backend, slot) => {
      datapath.backends.set({ service: id + 1, slot }, backend);
    });
    for (const address of service.addresses)
      datapath.services.set(
        { address, port: service.port, protocol: service.protocol },
        {
          id: id + 1,
          backends: service.backends.length,
          responseHopLimit: service.responseHopLimit,
          whenNoBackend: service.whenNoBackend,
          drain: 0,
          drainEnds: service.draining ? 1n : 0n,
        },
      );
  }
  for (const address of SERVICES) datapath.serviceAddresses.set(address, { services: 1 });
}

function services(fabric: number) {
  const local = (port: number, address = "127.0.0.1") => ({ kind: "host-local" as const, address, port });
  const far = (port: number) => ({
    kind: "fabric" as const,
    address: BACKEND,
    port,
    source: FABRIC_SOURCE,
    ifindex: fabric,
  });
  const base = {
    addresses: [SERVICES[0]] as string[],
    responseHopLimit: 64,
    whenNoBackend: "reject" as const,
    draining: false,
  };
  return [
    {
      ...base,
      addresses: [SERVICES[0], SERVICES[1]],
      port: 80,
      protocol: "tcp" as const,
      backends: [local(8080), local(8080, "127.0.0.2")],
    },
    { ...base, port: 53, protocol: "udp" as const, backends: [local(5353)], responseHopLimit: 1 },
    { ...base, port: 443, protocol: "tcp" as const, backends: [far(8443)] },
    { ...base, port: 123, protocol: "udp" as const, backends: [far(123)], responseHopLimit: 33 },
    { ...base, port: 81, protocol: "tcp" as const, backends: [] },
    { ...base, port: 82, protocol: "tcp" as const, backends: [], whenNoBackend: "drop" as const },
    {
      ...base,
      port: 84,
      protocol: "tcp" as const,
      backends: [local(8080)],
      draining: true,
      whenNoBackend: "drop" as const,
    },
    { ...base, port: 83, protocol: "udp" as const, backends: [], whenNoBackend: "pass" as const },
  ];
}

/** What was compared. */
export interface Tally {
  frames: number;
  /** Frames that the kernel takes for no test run. */
  skipped: number;
  /** How often each reason was counted. */
  reasons: Map<string, number>;
}

/** Runs a sequence; undefined where model and programs agree, else what differs, for people. */
export function compare(kernel: Kernel, sequence: Sequence, tally: Tally): string | undefined {
  const { interfaces } = kernel;
  const vifs = new Map<number, Vif>(
    interfaces.vifs.map((ifindex, index) => [
      ifindex,
      { ...sequence.vif, metadataAddress: METADATA_ADDRESSES[index]! },
    ]),
  );
  kernel.reset(vifs, settingsOf(sequence, interfaces.host));
  const state = modelOf(sequence, interfaces.fabric, vifs);
  const sent: Sent[] = [];
  let offset = 0n;
  const now = () => process.hrtime.bigint() + offset;

  for (const [index, next] of sequence.steps.entries()) {
    const found = takeStep(next);
    if (found !== undefined) return `step ${index}: ${found}`;
  }
  return compareFlows(kernel, state);

  function takeStep(next: Step): string | undefined {
    switch (next.kind) {
      case "advance":
        kernel.advance(BigInt(next.seconds) * NS_PER_S);
        offset += BigInt(next.seconds) * NS_PER_S;
        return undefined;
      case "reject-limit": {
        const ifindex = interfaces.vifs[next.vif];
        kernel.setRejectLimit(ifindex, next.exhausted);
        state.vifs.get(ifindex)!.rejectAt = next.exhausted ? now() + 3600n * NS_PER_S : 0n;
        return undefined;
      }
      case "frame":
        return compareFrame(next, next.side === "vif" ? interfaces.vifs[next.vif] : interfaces[next.side]);
      case "answer":
      case "error": {
        const about = sent.at(-1 - next.about);
        const frame =
          about &&
          (next.kind === "answer"
            ? answerTo(about, next, interfaces.fabricMac)
            : errorAbout(about, next, interfaces.fabricMac));
        if (about === undefined || frame === undefined) return undefined;
        const side = about.to.kind;
        return compareFrame(
          { side, frame },
          about.to.kind === "vif" ? about.to.ifindex : interfaces[about.to.kind],
        );
      }
    }
  }

  function compareFrame(next: { side: Side; frame: Uint8Array }, ifindex: number): string | undefined {
    const input: StepInput = {
      side: next.side,
      ifindex,
      frame: next.frame,
      now: now(),
      forThisHost: toHex(next.frame.subarray(0, 6)) === interfaces.fabricMac.replaceAll(":", ""),
    };
    const actual = kernel.run(next.side, next.frame, ifindex);
    if (actual === undefined) {
      tally.skipped++;
      return undefined;
    }
    const expected = step(state, input, choicesOf(kernel, state));
    tally.frames++;
    if (expected.reason !== undefined)
      tally.reasons.set(expected.reason, (tally.reasons.get(expected.reason) ?? 0) + 1);

    const wanted = {
      verdict: expected.verdict.kind,
      reasons: expected.reason === undefined ? "" : expected.reason,
      frame: toHex(expected.verdict.kind === "send" ? expected.verdict.frame : next.frame),
    };
    const got = {
      verdict: VERDICTS[actual.verdict] ?? String(actual.verdict),
      reasons: actual.reasons.join(" "),
      // A dropped frame is seen by nobody: the programs may have begun to change it.
      frame: actual.verdict === 2 ? wanted.frame : toHex(actual.frame),
    };
    if (JSON.stringify(wanted) === JSON.stringify(got)) {
      if (expected.verdict.kind === "send") sent.push(expected.verdict);
      return undefined;
    }
    const show = (frame: Uint8Array) => `${describeFrame(frame)}\n${hexDump(frame)}`;
    return [
      `${next.side} ${ifindex}, model: ${wanted.verdict} ${wanted.reasons}; programs: ${got.verdict} ${got.reasons}`,
      `frame in: ${show(next.frame)}`,
      `model:    ${expected.verdict.kind === "send" ? show(expected.verdict.frame) : "no frame"}`,
      `programs: ${actual.verdict === 7 ? show(actual.frame) : "no frame"}`,
    ].join("\n");
  }
}

/** A frame that the datapath has sent, and where. */
interface Sent {
  to: Target;
  frame: Uint8Array;
}

/** The Ethernet addresses, and the addresses of the packet, the other way round. */
function wayBack({ to, frame }: Sent, fabricMac: string) {
  const macs = parseFrame(frame);
  if (!macs.ok || macs.value.network.kind !== "ipv4") return undefined;
  const { network } = macs.value;
  return {
    // What is sent to the fabric gets its MACs from the kernel, after the program.
    sourceMac: to.kind === "fabric" ? ROUTER_MAC : macs.value.destination,
    destinationMac: to.kind === "fabric" ? fabricMac : macs.value.source,
    source: network.destination,
    destination: network.source,
    transport: network.transport,
  };
}

function answerTo(about: Sent, { flags, data }: Extract<Step, { kind: "answer" }>, fabricMac: string) {
  const way = wayBack(about, fabricMac);
  if (way === undefined) return undefined;
  const { transport, ...addresses } = way;
  switch (transport.kind) {
    case "tcp":
    case "udp": {
      const ports = { sourcePort: transport.destinationPort, destinationPort: transport.sourcePort };
      return transport.kind === "tcp"
        ? tcpFrame({ ...addresses, ...ports, flags, data })
        : udpFrame({ ...addresses, ...ports, data });
    }
    case "icmp":
      return transport.message.kind === "echo"
        ? echoReply({ ...addresses, identifier: transport.message.identifier, sequence: 1, data })
        : undefined;
    default:
      return undefined;
  }
}

function errorAbout(about: Sent, error: Extract<Step, { kind: "error" }>, fabricMac: string) {
  const way = wayBack(about, fabricMac);
  if (way === undefined) return undefined;
  const { transport: _, ...addresses } = way;
  const { type, code, length, router } = error;
  const quoted = about.frame.subarray(14, 14 + length);
  const source = about.to.kind === "vif" ? addresses.source : (router ?? addresses.source);
  return damagedFrame(icmpError({ ...addresses, source, type, code, quoted }), error.damage);
}

function settingsOf(sequence: Sequence, hostDevice: number): Settings {
  return {
    hostDevice,
    hostMac: HOST_MAC,
    gatewayMac: GATEWAY_MAC,
    fabricPortMin: sequence.fabricPorts.min,
    fabricPortMax: sequence.fabricPorts.max,
    ...sequence.limits,
    timeoutTcpSyn: TIMEOUTS.tcpOpening,
    timeoutTcpEstablished: TIMEOUTS.tcpEstablished,
    timeoutTcpClosing: TIMEOUTS.tcpClosing,
    timeoutUdp: TIMEOUTS.udpOpening,
    timeoutUdpAnswered: TIMEOUTS.udpEstablished,
    timeoutIcmp: TIMEOUTS.icmp,
    hostServiceAddress: SERVICES[0],
    flowEvents: false,
  };
}

function modelOf(sequence: Sequence, fabric: number, vifs: Map<number, Vif>): ModelState {
  const state = newState({
    hostMac: HOST_MAC,
    gatewayMac: GATEWAY_MAC,
    hostServiceAddress: SERVICES[0],
    fabricPorts: sequence.fabricPorts,
    ...sequence.limits,
    timeouts: TIMEOUTS,
  });
  for (const [index, { addresses, port, protocol, ...service }] of services(fabric).entries())
    for (const address of addresses)
      setService(state, { address, port, protocol }, { id: index + 1, ...service });
  for (const address of SERVICES) state.serviceAddresses.add(address);
  for (const [ifindex, { mac, gateway, ...vif }] of vifs)
    setVif(state, ifindex, {
      ...vif,
      ...(mac !== undefined && { mac }),
      ...(gateway !== undefined && { gateway }),
    });
  return state;
}

/** The choices that the programs have made: read from the one flow that they have and the model has not. */
function choicesOf(kernel: Kernel, state: ModelState): Choices {
  const opened = () => kernel.flows().find(([key]) => !state.flows.has(flowKey(key)));
  return {
    backend: (count) => {
      const found = opened();
      // Without a flow it does not matter which: the frame was refused.
      const slot = found === undefined ? 0 : ["127.0.0.1", "127.0.0.2"].indexOf(found[1].backend);
      return slot > 0 && slot < count ? slot : 0;
    },
    port: ({ taken }) => {
      const found = opened();
      if (found === undefined) return undefined;
      const port = found[1].opener === "guest" ? found[1].natPort : found[0].servicePort;
      return taken(port) ? undefined : port;
    },
  };
}

/** The flows that both have, in full. Idle ones that no frame has met are left out: the model keeps them for as long as the programs do. */
function compareFlows(kernel: Kernel, state: ModelState): string | undefined {
  const line = (key: string, flow: object) => `${key} ${JSON.stringify(flow)}`;
  const wanted = [...state.flows.values()].map((flow) => line(flowKey(flow), seen(flow)));
  const got = kernel.flows().map(([key, flow]) =>
    line(
      flowKey(key),
      seen({
        ...flow,
        openedBy: flow.opener === "guest" ? "guest" : "host",
        fins: { guest: (flow.fins & 1) !== 0, backend: (flow.fins & 2) !== 0 },
      }),
    ),
  );
  wanted.sort();
  got.sort();
  return wanted.join("\n") === got.join("\n")
    ? undefined
    : `the flows differ; model:\n${wanted.join("\n")}\nprograms:\n${got.join("\n")}`;
}

type Comparable = Pick<
  ModelFlow,
  | "kind"
  | "backend"
  | "backendPort"
  | "nat"
  | "natPort"
  | "openedBy"
  | "state"
  | "fins"
  | "ifindex"
  | "guestMac"
  | "serviceMac"
  | "responseHopLimit"
  | "framesOut"
  | "bytesOut"
  | "framesIn"
  | "bytesIn"
>;

function seen(flow: Comparable): object {
  const { kind, backend, backendPort, nat, natPort, openedBy, state, fins, ifindex, guestMac, serviceMac } =
    flow;
  const { responseHopLimit } = flow;
  const counts = [flow.framesOut, flow.bytesOut, flow.framesIn, flow.bytesIn].map(Number);
  return {
    kind,
    backend,
    backendPort,
    nat,
    natPort,
    openedBy,
    state,
    fins,
    ifindex,
    guestMac,
    serviceMac,
    responseHopLimit,
    counts,
  };
}
