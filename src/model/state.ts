/**
 * What the datapath knows: its configuration, and what it has seen. `step` changes the state that it is given, as the kernel
 * programs change their maps; who needs the old one takes `cloneState` first.
 *
 * Addresses and MACs are canonical text (`packet/address.ts`), ports are numbers, times are nanoseconds of one clock that only
 * goes forward.
 */

/** Nanoseconds in a second. */
export const NS_PER_S = 1_000_000_000n;

/** What a flow can carry. */
export type FlowProtocol = "tcp" | "udp" | "icmp";

/** Seconds without a frame after which a flow ends. */
export interface Timeouts {
  tcpOpening: number;
  tcpEstablished: number;
  tcpClosing: number;
  udpOpening: number;
  udpEstablished: number;
  icmp: number;
}

/** What holds for the whole datapath. */
export interface ModelSettings {
  /** MAC of onlink0. */
  hostMac: string;
  /** The MAC that answers for every service address. */
  gatewayMac: string;
  /** The service address that a guest sees when the host opens a flow to it; undefined: the host opens none. */
  hostServiceAddress: string | undefined;
  /** Source ports towards fabric backends, both ends included. */
  fabricPorts: { min: number; max: number };
  /** Row I8. */
  maxFlows: number;
  maxFlowsPerVif: number;
  timeouts: Timeouts;
}

/** Where a service really runs. */
export type ModelBackend =
  | { kind: "host-local"; address: string; port: number }
  | {
      kind: "fabric";
      address: string;
      port: number;
      /** The host's own address towards the backend. */
      source: string;
      /** The interface that leads to the backend. */
      ifindex: number;
    };

/** A service: address, protocol and port are its key (`serviceKey`). */
export interface ModelService {
  /** Any number that no other service has. */
  id: number;
  /** Those that take new flows. */
  backends: ModelBackend[];
  /** TTL of what the guest gets back, 1-64. */
  responseHopLimit: number;
  /** Row I4, for a service without backends. */
  whenNoBackend: "reject" | "drop" | "pass";
  /** The service is removed: its flows go on, and it opens no others. */
  draining?: boolean;
}

/** How an interface is configured. */
export interface VifConfig {
  metadataAddress: string;
  /** The guest's own; empty where they are not known. */
  addresses: string[];
  /** The guest's own. */
  mac?: string;
  /** Row A4: the gateway address to answer for. */
  gateway?: string;
  /** Row I7. */
  antiSpoof: boolean;
  /** Row I4. */
  unknownPort: "reject" | "drop";
  /** Rows A1 and A2. */
  arpReply: "unicast" | "broadcast";
}

/** A vif with what was seen of it. */
export interface Vif extends VifConfig {
  ifindex: number;
  /** How many flows it has, idle ones that nobody has met yet included. */
  flows: number;
  /** Row A3: when each service address was defended last. */
  defences: Map<string, bigint>;
  /** Row I4: theoretical arrival time of the next answer, for the rate limit. */
  rejectAt: bigint;
  /** Source of the last right IPv4 frame to a service address that was in no open flow, or had other MACs than its flow. */
  learned?: { address: string; mac: string };
}

/** A flow as the guest sees it. */
export interface FlowKey {
  /** ifindex of the vif: guests with the same address never mix. */
  vif: number;
  protocol: FlowProtocol;
  guest: string;
  /** 0 for ICMP. */
  guestPort: number;
  service: string;
  /** The echo identifier for ICMP. */
  servicePort: number;
}

/** A flow as the backend, or the host that opened it, sees it. */
export interface ReverseKey {
  kind: "host-local" | "fabric";
  protocol: FlowProtocol;
  backend: string;
  backendPort: number;
  /** What the guest's address and port became. */
  nat: string;
  natPort: number;
}

/** Opening until the other side answers (TCP: and the opener has acknowledged it), closing after a RST or a FIN from both sides (TCP alone). */
export type FlowState = "opening" | "established" | "closing";

/** A flow: both views, and what has been seen of it. */
export interface ModelFlow extends FlowKey, ReverseKey {
  openedBy: "guest" | "host";
  state: FlowState;
  /** Whether the side that did not open it has sent something. */
  answered: boolean;
  /** Who has sent a FIN. */
  fins: { guest: boolean; backend: boolean };
  lastSeen: bigint;
  opened: bigint;
  /** Guest to backend; bytes with the Ethernet header. */
  framesOut: bigint;
  bytesOut: bigint;
  /** Backend to guest. */
  framesIn: bigint;
  bytesIn: bigint;
  /** Fabric: the egress interface; host-local: 0. */
  ifindex: number;
  /** Id; 0 for a flow that the host opened. */
  serviceId: number;
  guestMac: string;
  /** The MAC that the guest knows the service by. */
  serviceMac: string;
  responseHopLimit: number;
}

/** Where a frame is sent: out of a vif, into the host's stack at onlink0, or to the fabric by the kernel's next hop. */
export type Target =
  | { kind: "vif"; ifindex: number }
  | { kind: "host" }
  | { kind: "fabric"; ifindex: number };

/** Addresses that a packet is to have, and ports, where it is to have other ones. */
export interface Endpoints {
  source: string;
  destination: string;
  ports: { source: number; destination: number } | undefined;
}

/** All that the headers of a frame are to be changed to. */
export interface Headers extends Endpoints {
  sourceMac: string;
  destinationMac: string;
  ttl: number;
}

/** What frames of a flow become in one direction, and where they go. */
export interface Way extends Headers {
  to: Target;
  /** The vif that the frame is counted for. */
  vif: number;
  reason: "forwarded" | "returned" | "echo-reply";
}

/** Row I5: a first fragment, and which way it went. */
export interface FirstFragment {
  source: string;
  destination: string;
  protocol: number;
  identification: number;
  at: bigint;
  way: Way;
}

/** All that the datapath knows. Plain data. */
export interface ModelState {
  settings: ModelSettings;
  serviceAddresses: Set<string>;
  /** By `serviceKey`. */
  services: Map<string, ModelService>;
  /** By ifindex. */
  vifs: Map<number, Vif>;
  /** By `flowKey`. */
  flows: Map<string, ModelFlow>;
  /** `reverseKey` to `flowKey`; an entry also claims the source port. */
  reverse: Map<string, string>;
  /** By place (`fragments.ts`). */
  fragments: Map<string, FirstFragment>;
}

/** A datapath that knows nothing yet but its settings. */
export function newState(settings: ModelSettings): ModelState {
  return {
    settings,
    serviceAddresses: new Set(),
    services: new Map(),
    vifs: new Map(),
    flows: new Map(),
    reverse: new Map(),
    fragments: new Map(),
  };
}

/** A copy that shares nothing with the state. Takes time in proportion to the flows. */
export function cloneState(state: ModelState): ModelState {
  return structuredClone(state);
}

/** Adds or changes a service and its address. */
export function setService(
  state: ModelState,
  key: { address: string; protocol: "tcp" | "udp"; port: number },
  service: ModelService,
): void {
  state.serviceAddresses.add(key.address);
  state.services.set(serviceKey(key.address, key.protocol, key.port), service);
}

/** Adds a vif, or changes the configuration of one; what was seen of it stays. */
export function setVif(state: ModelState, ifindex: number, config: VifConfig): void {
  const { flows, defences, rejectAt, learned } = state.vifs.get(ifindex) ?? {
    flows: 0,
    defences: new Map<string, bigint>(),
    rejectAt: 0n,
  };
  state.vifs.set(ifindex, { ...config, ifindex, flows, defences, rejectAt, ...(learned && { learned }) });
}

/** Key of `ModelState.services`: "169.254.169.254/tcp/80". */
export function serviceKey(address: string, protocol: FlowProtocol, port: number): string {
  return `${address}/${protocol}/${port}`;
}

/** Key of `ModelState.flows`. */
export function flowKey({ vif, protocol, guest, guestPort, service, servicePort }: FlowKey): string {
  return `${vif} ${protocol} ${guest}:${guestPort} ${service}:${servicePort}`;
}

/**
 * Key of `ModelState.reverse`. Host-local: without the backend's address, since a UDP server bound to the wildcard answers from
 * whichever address the route prefers.
 */
export function reverseKey({ kind, protocol, backend, backendPort, nat, natPort }: ReverseKey): string {
  const from = kind === "fabric" ? backend : "*";
  return `${kind} ${protocol} ${from}:${backendPort} ${nat}:${natPort}`;
}
