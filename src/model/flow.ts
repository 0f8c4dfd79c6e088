/** Flows (DESIGN section 4): found, opened, followed and ended. Row I8: limits. */
import { TCP_FLAG } from "../packet/tcp.ts";
import type { Ipv4Frame } from "./rewrite.ts";
import {
  type FlowKey,
  flowKey,
  type ModelFlow,
  type ModelState,
  NS_PER_S,
  type ReverseKey,
  reverseKey,
  type Timeouts,
  type Vif,
} from "./state.ts";
import { type Context, type Counted, drop, type ModelEvent, type PortCandidates } from "./verdict.ts";

/** Ports that a flow may get where its own is taken; those below belong to the system. */
export const OTHER_PORTS = { min: 1024, max: 65535 } as const;

/** What a caller of `openFlow` knows; the rest of a flow begins as every flow does. */
export type NewFlow = Omit<
  ModelFlow,
  "state" | "answered" | "fins" | "lastSeen" | "opened" | "framesOut" | "bytesOut" | "framesIn" | "bytesIn"
>;

/** The flow of a frame from the guest. One that has been idle for too long is ended and not found. */
export function findFlow(context: Context, key: FlowKey): ModelFlow | undefined {
  return unlessIdle(context, context.state.flows.get(flowKey(key)));
}

/** The flow of a frame from the host or the fabric, likewise. */
export function findReverse(context: Context, key: ReverseKey): ModelFlow | undefined {
  const { flows, reverse } = context.state;
  const found = reverse.get(reverseKey(key));
  return unlessIdle(context, found === undefined ? undefined : flows.get(found));
}

function unlessIdle(context: Context, flow: ModelFlow | undefined): ModelFlow | undefined {
  if (flow === undefined || !isIdle(context.state, flow, context.now)) return flow;
  endFlow(context.state, flow, context.events);
  return undefined;
}

/** Ends all flows that have been idle for too long, as the kernel's timer does between frames. */
export function sweepFlows(state: ModelState, now: bigint, events: ModelEvent[]): void {
  for (const flow of state.flows.values()) if (isIdle(state, flow, now)) endFlow(state, flow, events);
}

function isIdle({ settings }: ModelState, flow: ModelFlow, now: bigint): boolean {
  return now - flow.lastSeen > BigInt(timeoutOf(settings.timeouts, flow)) * NS_PER_S;
}

function timeoutOf(timeouts: Timeouts, { protocol, state }: ModelFlow): number {
  if (protocol === "icmp") return timeouts.icmp;
  if (protocol === "udp") return state === "opening" ? timeouts.udpOpening : timeouts.udpEstablished;
  return { opening: timeouts.tcpOpening, established: timeouts.tcpEstablished, closing: timeouts.tcpClosing }[
    state
  ];
}

/** Ends a flow and frees its port. */
export function endFlow(state: ModelState, flow: ModelFlow, events: ModelEvent[]): void {
  state.flows.delete(flowKey(flow));
  state.reverse.delete(reverseKey(flow));
  const vif = state.vifs.get(flow.vif);
  if (vif !== undefined) vif.flows -= 1;
  events.push({ kind: "flow-closed", flow: keyOf(flow) });
}

/** Row I8: drops the frame that would open a flow too many; undefined while there is room. */
export function dropOverLimit({ state, events }: Context, vif: Vif, key: FlowKey): Counted | undefined {
  const { maxFlows, maxFlowsPerVif } = state.settings;
  if (vif.flows < maxFlowsPerVif && state.flows.size < maxFlows) return undefined;
  events.push({ kind: "limit", flow: key });
  return drop("limit", vif.ifindex);
}

/** Enters a flow whose keys are free. */
export function openFlow(context: Context, vif: Vif, { ...flow }: NewFlow): ModelFlow {
  const { state, now, events } = context;
  const opened: ModelFlow = {
    ...flow,
    state: "opening",
    answered: false,
    fins: { guest: false, backend: false },
    lastSeen: now,
    opened: now,
    framesOut: 0n,
    bytesOut: 0n,
    framesIn: 0n,
    bytesIn: 0n,
  };
  state.flows.set(flowKey(opened), opened);
  state.reverse.set(reverseKey(opened), flowKey(opened));
  vif.flows += 1;
  events.push({ kind: "flow-opened", flow: keyOf(opened) });
  return opened;
}

/** Counts a frame of a flow and follows its state: `from` is who sent it, the guest or the other side. */
export function followFlow(
  context: Context,
  flow: ModelFlow,
  frame: Ipv4Frame,
  from: "guest" | "backend",
): void {
  flow.lastSeen = context.now;
  if (from === "guest") {
    flow.framesOut += 1n;
    flow.bytesOut += BigInt(frame.bytes.length);
  } else {
    flow.framesIn += 1n;
    flow.bytesIn += BigInt(frame.bytes.length);
  }
  if ((flow.openedBy === "guest") !== (from === "guest")) flow.answered = true;
  const { transport } = frame.ip;
  if (transport.kind === "tcp") followTcp(flow, transport.flags, from);
  else if (flow.answered) flow.state = "established";
}

/**
 * The state of a TCP connection, as far as its flow must know it. Sequence numbers are not looked at: so a SYN alone, though it
 * be answered, keeps a flow for no longer than the opening takes, and a RST is believed only as long as nothing else comes.
 */
function followTcp(flow: ModelFlow, flags: number, from: "guest" | "backend"): void {
  const { syn, ack, rst, fin } = TCP_FLAG;
  const byOpener = (flow.openedBy === "guest") === (from === "guest");
  if (flow.state === "opening" && flow.answered && byOpener && (flags & ack) !== 0)
    flow.state = "established";
  if ((flags & fin) !== 0) flow.fins[from] = true;
  if ((flags & rst) !== 0 || (flow.fins.guest && flow.fins.backend)) flow.state = "closing";
  else if (flow.state === "closing" && (flags & syn) === 0)
    flow.state = flow.answered ? "established" : "opening";
}

/** Whether these TCP flags may open a flow: SYN alone of those that say where a connection stands. */
export function opensFlow(flags: number): boolean {
  const { syn, ack, rst, fin } = TCP_FLAG;
  return (flags & (syn | ack | rst | fin)) === syn;
}

/** Whether the frame begins a new connection where an old one is closing (RFC 9293 s. 3.6.1). */
export function replacesFlow(flow: ModelFlow, { ip: { transport } }: Ipv4Frame): boolean {
  return flow.state === "closing" && transport.kind === "tcp" && opensFlow(transport.flags);
}

/** The sender's own port if it is one and free, else one of the others; undefined where none was found. */
export function choosePort(
  context: Context,
  candidates: PortCandidates & { own?: number },
): number | undefined {
  const { own, min, max, taken } = candidates;
  if (own !== undefined && own !== 0 && !taken(own)) return own;
  const port = context.choices.port({ min, max, taken });
  if (port !== undefined && (port < min || port > max || taken(port)))
    throw new RangeError(`port ${port} was chosen, which is taken or not in ${min}-${max}`);
  return port;
}

function keyOf({ vif, protocol, guest, guestPort, service, servicePort }: FlowKey): FlowKey {
  return { vif, protocol, guest, guestPort, service, servicePort };
}
