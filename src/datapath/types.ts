/**
 * What the agent sees of the datapath: typed maps and attachments. Everything native stays behind this interface, so that
 * the agent's own tests need no kernel. Addresses are text (`"169.254.169.254"`), MACs are text (`"00:00:5e:00:01:00"`), ports
 * are numbers; byte order is the codecs' business (`layout.ts`). Field names follow the structs in `bpf/onlink.h`.
 */

/** The programs of the datapath, named after the side a frame comes from (DESIGN section 3). */
export type ProgramName = "vif" | "host" | "fabric";

/** How a program hangs on an interface: a tcx link (Linux 6.6 and later) or a filter of a clsact qdisc. */
export type AttachKind = "tcx" | "clsact";

/** Transport protocols that a service can have. */
export type Protocol = "tcp" | "udp";

/** What a service without a backend does with what comes for it (row I4). */
export type WhenNoBackend = "reject" | "drop" | "pass";

/** `struct settings`. */
export interface Settings {
  /** ifindex of onlink0. */
  hostDevice: number;
  /** MAC of onlink0. */
  hostMac: string;
  /** The MAC that answers for every service address. */
  gatewayMac: string;
  /** Source ports towards fabric backends, both ends included. */
  fabricPortMin: number;
  fabricPortMax: number;
  /** Limit of flows on the system, and for one vif. */
  maxFlows: number;
  maxFlowsPerVif: number;
  /** Seconds without a frame after which a flow ends. */
  timeoutTcpSyn: number;
  timeoutTcpEstablished: number;
  timeoutTcpClosing: number;
  timeoutUdp: number;
  timeoutUdpAnswered: number;
  timeoutIcmp: number;
  /** What the guest sees as the source of a flow that the host opens; empty: the host opens none. */
  hostServiceAddress: string;
  /** Whether the datapath reports flows opened and closed. */
  flowEvents: boolean;
}

/** `struct service_address`. */
export interface ServiceAddress {
  /** How many services the address has. */
  services: number;
}

/** `struct service_key`. */
export interface ServiceKey {
  address: string;
  port: number;
  protocol: Protocol;
}

/** `struct service`. */
export interface ServiceEntry {
  /** First half of the backend's key; from 1 up, so that 0 can stand for none. */
  id: number;
  /** Slots `0 .. backends - 1` take new flows. */
  backends: number;
  /** TTL of what the guest gets back, 1-64. */
  responseHopLimit: number;
  whenNoBackend: WhenNoBackend;
  /** For the agent: how long flows last once the service is removed, in ms. */
  drain: number;
  /** Not zero: the service is removed and opens no flows; those that it has end at this time (CLOCK_MONOTONIC, ns), by the agent. */
  drainEnds: bigint;
}

/** `struct backend_key`. */
export interface BackendKey {
  service: number;
  slot: number;
}

/** `struct backend`. */
export type BackendEntry =
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

/** A vif: `struct vif`, and what `vif_addresses` and `metadata_addresses` hold of it. */
export interface Vif {
  metadataAddress: string;
  /** The guest's own addresses; empty: not known. The first is whom the host reaches by the metadata address. */
  addresses: string[];
  /** The guest's MAC, where it is known. */
  mac?: string | undefined;
  /** The gateway that row A4 answers for. */
  gateway?: string | undefined;
  /** Row I7. */
  antiSpoof: boolean;
  /** Row I4. */
  unknownPort: "reject" | "drop";
  /** Rows A1 and A2. */
  arpReply: "unicast" | "broadcast";
}

/** Names of `enum reason`, in lower case with hyphens and without the prefix. */
export type Reason =
  | "arp-reply"
  | "arp-probe-reply"
  | "arp-conflict"
  | "arp-gateway"
  | "arp-other"
  | "forwarded"
  | "echo-reply"
  | "unknown-port"
  | "no-backend"
  | "fragment"
  | "icmp-error"
  | "spoofed"
  | "limit"
  | "malformed"
  | "vlan"
  | "no-flow"
  | "no-port"
  | "returned";

/** `struct counter`, summed over the CPUs. */
export interface Counter {
  frames: bigint;
  bytes: bigint;
}

/** Counters by reason; every reason is present. */
export type Counters = Record<Reason, Counter>;

/** `struct service_counters`: since the service is there. Frames and bytes are as of the last `addCounts`, or of two seconds ago. */
export interface ServiceCounters {
  /** Opened by guests. */
  flows: bigint;
  /** Frames that found no backend in use. */
  refused: bigint;
  /** Guest to backend. */
  framesOut: bigint;
  bytesOut: bigint;
  /** Backend to guest. */
  framesIn: bigint;
  bytesIn: bigint;
}

/** `struct flow_key`: a flow as the guest sees it. */
export interface FlowKey {
  /** ifindex of the vif. */
  vif: number;
  guest: string;
  guestPort: number;
  service: string;
  servicePort: number;
  /** ICMP: the host's pings by metadata address; the identifier is the service port. */
  protocol: Protocol | "icmp";
}

/** `struct flow`. */
export interface Flow {
  /** CLOCK_MONOTONIC, ns. */
  lastSeen: bigint;
  opened: bigint;
  framesOut: bigint;
  bytesOut: bigint;
  framesIn: bigint;
  bytesIn: bigint;
  kind: "host-local" | "fabric";
  backend: string;
  backendPort: number;
  /** What the guest's address and port became. */
  nat: string;
  natPort: number;
  /** Fabric: the egress interface; host-local: 0. */
  ifindex: number;
  /** Service id. */
  service: number;
  /** Of the guest's last frame, as is the next. */
  guestMac: string;
  /** The MAC that the guest addressed; replies come from it. */
  serviceMac: string;
  state: "opening" | "established" | "closing";
  /** Who has sent FIN: 1 the guest, 2 the backend, or both. */
  fins: number;
  /** Who sent the first frame; "backend": the host, by metadata address. */
  opener: "guest" | "backend";
  responseHopLimit: number;
}

/** Part of the flows; see `Datapath.flowPage`. */
export interface FlowPage {
  flows: Array<[FlowKey, Flow]>;
  /** The cursor of the next page; absent on the last. */
  next?: string;
}

/** Which flows: those for which all of this holds, `struct flow_filter`. */
export interface FlowFilter {
  /** ifindex of the vif. */
  vif?: number;
  /** Service id; the host's own flows to guests have none. */
  service?: number;
  /** Service address. */
  address?: string;
  backend?: { address: string; port: number };
  /** Fabric: the egress interface. */
  ifindex?: number;
}

/**
 * What the datapath has seen of the guest behind a vif. Times are CLOCK_MONOTONIC, ns, to the tick (some ms); what never was is left out. Written
 * without a lock: for people, not for decisions.
 */
export interface VifEvidence {
  /** The last address that it asked for by ARP, of those that are service addresses or link-local; probes left out. */
  arpAsked?: { address: string; time: bigint };
  /** The last of those that was answered. */
  arpAnswered?: { address: string; time: bigint };
  /**
   * The last frame to a service address that nothing was wrong with and that was in no open flow: from whom, and at which MAC the guest takes the
   * service to be.
   */
  sent?: { guest: string; guestMac: string; service: string; toMac: string; time: bigint };
  /** The last source address that anti-spoofing dropped. */
  spoofed?: { address: string; time: bigint };
  /** When a frame was last counted, by reason: "forwarded" is the last packet to a service, "returned" the last from one. */
  counted: Partial<Record<Reason, bigint>>;
}

/** Something that the datapath reports: `struct event`. Fields that a kind has no use for are zero or empty. */
export interface DatapathEvent {
  kind: "conflict" | "spoofed" | "limit" | "flow-opened" | "flow-closed";
  /** CLOCK_MONOTONIC, ns. */
  time: bigint;
  /** ifindex. */
  vif: number;
  guest: string;
  guestPort: number;
  service: string;
  servicePort: number;
  backend: string;
  backendPort: number;
  mac: string;
  /** IP protocol number. */
  protocol: number;
  framesOut: bigint;
  bytesOut: bigint;
  framesIn: bigint;
  bytesIn: bigint;
}

/** A kernel map with typed keys and values. Every call is a system call or more; errors throw `DatapathError`. */
export interface DatapathMap<K, V> {
  get(key: K): V | undefined;
  /** Adds or replaces. */
  set(key: K, value: V): void;
  /** Adds or replaces entries, in their order; many cost little more than one. Throws `EntryError`, which says how far it came. */
  setAll(entries: ReadonlyArray<[K, V]>): void;
  /** False when there was no such entry. */
  delete(key: K): boolean;
  /** Deletes entries, in their order, like `setAll`; one that is not there is no error. */
  deleteAll(keys: readonly K[]): void;
  /** A snapshot as good as the kernel gives one: entries that come or go meanwhile may be missed. */
  entries(): Array<[K, V]>;
}

/** A program on an interface. */
export interface Attachment {
  program: ProgramName;
  ifindex: number;
  how: AttachKind;
}

/** What became of the maps that an earlier agent left, by name. */
export interface Adoption {
  /** Taken over as they are. */
  kept: string[];
  /** Made anew, since their layout or size is another, with the entries that they had. */
  carried: string[];
  /** Made anew and empty: what they held could not be carried over, or was for the moment alone. */
  replaced: string[];
  /** How many flows were carried over. */
  flows: number;
}

/** What `Datapath.run` gives back. */
export interface RunResult {
  verdict: number;
  /** The frame afterwards. */
  frame: Uint8Array;
}

/** The loaded datapath. */
export interface Datapath {
  /** How new attachments are made. */
  readonly how: AttachKind;
  /** Set when maps were found pinned and taken over; undefined when they were made. */
  readonly adopted: Adoption | undefined;
  readonly serviceAddresses: DatapathMap<string, ServiceAddress>;
  /** Deleting forgets the counters of the service as well. */
  readonly services: DatapathMap<ServiceKey, ServiceEntry>;
  readonly backends: DatapathMap<BackendKey, BackendEntry>;
  /** The vifs by ifindex. */
  vifs(): Map<number, Vif>;
  /** What the datapath has seen of a vif's guest, frames of flows as in `vifCounters`; undefined when the vif is not known. */
  vifEvidence(ifindex: number): VifEvidence | undefined;
  /**
   * Some of the flows, in no order. `cursor`: `next` of the page before. No more than `limit` (at least 1), unless more lie in one bucket of the
   * kernel's hash, a few at most; so a page takes memory for `limit` flows however many there are. A flow that stays while the pages are
   * asked for is on one of them; one that comes or goes meanwhile may be. Throws `DatapathError` on a cursor that is none.
   */
  flowPage(page: { cursor?: string | undefined; limit: number }): FlowPage;
  /** Undefined before the first `setSettings` of a new datapath. */
  settings(): Settings | undefined;
  setSettings(settings: Settings): void;
  /** Adds or changes a vif; state, counters and flows of one that is there stay. */
  setVif(ifindex: number, vif: Vif): void;
  /** Forgets a vif, its state, its counters and its flows. */
  removeVif(ifindex: number): void;
  /**
   * Ends the flows that the filters are about; returns how many for each. Clients are not told. Filters that look at the same fields take one walk
   * through all flows together.
   */
  endFlows(filters: readonly FlowFilter[]): number[];
  /** Whether there is a flow that the filter is about. */
  hasFlows(filter: FlowFilter): boolean;
  /**
   * Attaches, or, where the program is there already (an adopted link), renews it in place without a gap. With `how` tcx, some of many that come
   * at once are attached by clsact first and get their link soon after, in the background.
   */
  attach(program: ProgramName, ifindex: number): void;
  /** Detaches; also clears what is left of an interface that is gone. Nothing to do is no error. */
  detach(program: ProgramName, ifindex: number): void;
  attachments(): Attachment[];
  /** Whether the kernel has the program on the interface still; `attachments` goes by what this and earlier agents attached. */
  isAttached(program: ProgramName, ifindex: number): boolean;
  /** Counters of the whole datapath, vifs that are gone included. */
  counters(): Counters;
  /**
   * Adds what flows have carried to the counters of their vifs and services, which else happens every two seconds. A walk through all flows, which is not made
   * where there are more than 65,536: then they are up to two seconds late.
   */
  addCounts(): void;
  /** Counters of the services that have been used, by service id. */
  serviceCounters(): Map<number, ServiceCounters>;
  /** Counters of one vif; undefined when it is not known. Frames of flows as in `ServiceCounters`. */
  vifCounters(ifindex: number): Counters | undefined;
  /**
   * Calls back for every event, in order, until the returned function is called. One listener at a time. Events that come faster than
   * they are read are lost and counted by `eventsLost`.
   */
  onEvent(listener: (event: DatapathEvent) => void): () => void;
  eventsLost(): bigint;
  /** How many flows there are now: on the system, or on one vif. */
  flowCount(ifindex?: number): number;
  /**
   * Runs a program on one frame (BPF_PROG_TEST_RUN): the verdict is a TC_ACT_* number, nothing is sent. The frame is taken to
   * come from the interface `ifindex`, which must be there; default 1, the loopback interface.
   */
  run(program: ProgramName, frame: Uint8Array, ifindex?: number): RunResult;
  /** Closes this process's handles; the pinned datapath goes on working. */
  close(): void;
}

/** Options of `openDatapath`. */
export interface DatapathOptions {
  /** Folder on a bpffs where maps, programs and links are pinned; made when missing. */
  pinDir: string;
  /** `auto`: tcx where the kernel has it, else clsact. */
  attach: "auto" | AttachKind;
  /** Capacity of the flow maps; fixed when they are made. */
  flowCapacity: number;
}
