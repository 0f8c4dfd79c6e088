/**
 * Loads the datapath, or adopts what an earlier agent left: maps are reused by their pins, programs are loaded anew, and
 * attaching swaps them under the links that are there. Layout of the pin folder: `maps/`, `programs/`, and `attachments.ts`'s.
 */
import { randomInt } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, rmdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { onReadable } from "../linux/readable.ts";
import { ipv4ToUint32, isInPrefix, LINK_LOCAL_PREFIX, ZERO_MAC } from "../packet/address.ts";
import { viewOf } from "../packet/bytes.ts";
import { ETHERNET_MIN_LENGTH } from "../packet/ethernet.ts";
import { attach, detach, listAttachments } from "./attachments.ts";
import { DatapathError } from "./errors.ts";
import {
  backendKeyLayout,
  backendLayout,
  counterLayout,
  eventLayout,
  FLOW_SHARDS,
  FRAGMENT_SLOTS_VIF,
  flowKeyLayout,
  flowLayout,
  fragmentKeyLayout,
  ipAddressLayout,
  REASON_COUNT,
  REASONS,
  serviceAddressLayout,
  serviceKeyLayout,
  serviceLayout,
  settingsLayout,
  u32Layout,
  VIF_FLAGS,
  vifAddressLayout,
  vifLayout,
  vifStateLayout,
} from "./layout.ts";
import {
  type BpfObject,
  closeFd,
  closeObject,
  createHashMap,
  deleteElement,
  getPinned,
  loadObject,
  lookupElement,
  mapById,
  mapCapacity,
  mapFd,
  openObject,
  pinObject,
  possibleCpus,
  preparePins,
  programFd,
  readRing,
  supportsTcx,
  testRun,
  updateElement,
} from "./libbpf.ts";
import { openMap, plain, readPerCpu, single } from "./maps.ts";
import { OBJECT_FILE } from "./object.ts";
import { type StructValueOf, u64 } from "./struct.ts";
import type { BackendEntry, Counters, Datapath, DatapathOptions, ProgramName, Reason, Vif } from "./types.ts";

const PROGRAMS: Record<ProgramName | "end_flows" | "start_sweeping", string> = {
  vif: "onlink_vif",
  host: "onlink_host",
  fabric: "onlink_fabric",
  end_flows: "onlink_end_flows",
  start_sweeping: "onlink_start_sweeping",
};

/**
 * Room in one shard for the flows that it holds on average: the hash does not spread them evenly, and a shard that is full refuses new flows though
 * others have room.
 */
const SHARD_SLACK = 2;

/**
 * Loads or adopts the datapath pinned under `pinDir`, which must lie on a bpffs. Throws `DatapathError` where the kernel or libbpf says no; what
 * was made by then is pinned and found by the next call.
 */
export function openDatapath(options: DatapathOptions): Datapath {
  const datapath = loadDatapath(options);
  try {
    startSweeping(options.pinDir);
  } catch (error) {
    datapath.close();
    throw error;
  }
  return datapath;
}

/** The same without the timer that ends idle flows: for tests whose clock is their own. */
export function loadDatapath(options: DatapathOptions): Datapath {
  const { pinDir } = options;
  const mapsDir = join(pinDir, "maps");
  const programsDir = join(pinDir, "programs");
  mkdirSync(mapsDir, { recursive: true, mode: 0o700 });
  mkdirSync(programsDir, { recursive: true, mode: 0o700 });
  const adopted = existsSync(join(mapsDir, "settings"));

  const object = openObject(OBJECT_FILE);
  try {
    preparePins(object, mapsDir, (name) =>
      name === "reverse" ? (pinnedCapacity(join(mapsDir, name)) ?? options.flowCapacity) : undefined,
    );
    loadObject(object);
    makeShards(object, options.flowCapacity);
    for (const name of Object.values(PROGRAMS)) {
      const path = join(programsDir, name);
      rmSync(path, { force: true });
      pinObject(programFd(object, name), path);
    }
  } catch (error) {
    closeObject(object);
    if (adopted && error instanceof DatapathError)
      throw new DatapathError(
        `${error.message}; if another version of onlink left the maps in ${mapsDir}, \`onlink down\` removes them`,
        error.errno,
      );
    throw error;
  }
  const tcx =
    options.attach === "auto" ? supportsTcx(programFd(object, PROGRAMS.vif)) : options.attach === "tcx";
  return overObject(object, pinDir, tcx ? "tcx" : "clsact", adopted);
}

function pinnedCapacity(path: string): number | undefined {
  const fd = getPinned(path);
  if (fd === undefined) return undefined;
  const capacity = mapCapacity(fd);
  closeFd(fd);
  return capacity;
}

/** Makes the maps inside `flows` that are not there yet. */
function makeShards(object: BpfObject, flowCapacity: number): void {
  const flows = mapFd(object, "flows");
  const capacity = Math.ceil(flowCapacity / FLOW_SHARDS) * SHARD_SLACK;
  for (let shard = 0; shard < FLOW_SHARDS; shard++) {
    const key = u32Layout.encode({ value: shard });
    if (lookupElement(flows, key, new Uint8Array(4))) continue;
    const fd = createHashMap(`flows_${shard}`, flowKeyLayout.size, flowLayout.size, capacity);
    updateElement(flows, key, u32Layout.encode({ value: fd }));
    closeFd(fd);
  }
}

/** The maps inside `flows`, opened; to be closed by the caller. */
function openShards(object: BpfObject): number[] {
  const flows = mapFd(object, "flows");
  return Array.from({ length: FLOW_SHARDS }, (_, shard) => {
    const id = new Uint8Array(4);
    lookupElement(flows, u32Layout.encode({ value: shard }), id);
    return mapById(u32Layout.read(id).value);
  });
}

function startSweeping(pinDir: string): void {
  const program = getPinned(join(pinDir, "programs", PROGRAMS.start_sweeping))!;
  try {
    const { verdict } = testRun(program, new Uint8Array(ETHERNET_MIN_LENGTH));
    if (verdict < 0)
      throw new DatapathError(
        "start the timer that ends idle flows: the kernel refused; try again",
        -verdict,
      );
  } finally {
    closeFd(program);
  }
}

function overObject(object: BpfObject, pinDir: string, how: Datapath["how"], adopted: boolean): Datapath {
  const program = (name: keyof typeof PROGRAMS) => programFd(object, PROGRAMS[name]);
  const ifindex = single(u32Layout, "value");
  const settings = mapFd(object, "settings");
  const vifStates = openMap(mapFd(object, "vif_states"), ifindex, plain(vifStateLayout));
  const vifCounters = mapFd(object, "vif_counters");
  const vifCountersSize = REASON_COUNT * counterLayout.size;
  const counters = mapFd(object, "counters");
  const flowTotal = mapFd(object, "flow_total");
  const vifs = openMap(mapFd(object, "vifs"), ifindex, plain(vifLayout));
  const vifAddresses = openMap(mapFd(object, "vif_addresses"), plain(vifAddressLayout), ifindex);
  // What vif_addresses holds, by vif: the map itself can only be searched by whole keys.
  const addressesOf = new Map<number, string[]>();
  for (const [{ vif, address }] of vifAddresses.entries())
    addressesOf.set(vif, [...(addressesOf.get(vif) ?? []), address]);
  const metadataAddresses = openMap(
    mapFd(object, "metadata_addresses"),
    single(ipAddressLayout, "words"),
    ifindex,
  );
  const fragments = mapFd(object, "fragments");
  const eventsLost = mapFd(object, "events_lost");
  const first = u32Layout.encode({ value: 0 });
  const shardFds = openShards(object);
  const shards = shardFds.map((fd) => openMap(fd, plain(flowKeyLayout), plain(flowLayout)));
  const storedSettings = () => {
    const bytes = new Uint8Array(settingsLayout.size);
    lookupElement(settings, first, bytes);
    return settingsLayout.read(bytes);
  };

  const serviceAddresses = openMap(
    mapFd(object, "service_addresses"),
    single(ipAddressLayout, "words"),
    plain(serviceAddressLayout),
  );

  const datapath: Datapath = {
    how,
    adopted,
    serviceAddresses: {
      ...serviceAddresses,
      set: (address, value) => {
        // Until now the datapath may have looked at link-local destinations alone. Never taken back: it only saves time.
        if (!isInPrefix(address, LINK_LOCAL_PREFIX))
          updateElement(settings, first, settingsLayout.encode({ ...storedSettings(), otherAddresses: 1 }));
        serviceAddresses.set(address, value);
      },
    },
    services: openMap(mapFd(object, "services"), plain(serviceKeyLayout), plain(serviceLayout)),
    backends: openMap(mapFd(object, "backends"), plain(backendKeyLayout), {
      layout: backendLayout,
      toStruct: (entry: BackendEntry) => ({ source: "", ifindex: 0, ...entry }),
      fromStruct: ({ kind, address, port, source, ifindex }): BackendEntry =>
        kind === "fabric" ? { kind, address, port, source, ifindex } : { kind, address, port },
    }),
    flows: () => shards.flatMap((shard) => shard.entries()),
    settings: () => {
      const { hashSeed, otherAddresses: _, flowEvents, ...value } = storedSettings();
      return hashSeed === 0 ? undefined : { ...value, flowEvents: flowEvents !== 0 };
    },
    setSettings: ({ flowEvents, ...value }) => {
      const { hashSeed, otherAddresses } = storedSettings();
      updateElement(
        settings,
        first,
        settingsLayout.encode({
          ...value,
          flowEvents: Number(flowEvents),
          otherAddresses,
          // The seed says in which shard a flow is found: it is drawn once for all.
          hashSeed: hashSeed || randomInt(1, 2 ** 32),
        }),
      );
    },
    vifs: () =>
      new Map(
        vifs.entries().map(([index, entry]) => [index, decodeVif(entry, addressesOf.get(index) ?? [])]),
      ),
    setVif: (index, vif) => {
      // State and counters first: the datapath refuses flows of a vif that has none to count on.
      if (vifStates.get(index) === undefined)
        vifStates.set(index, { rejectTat: 0n, eventTat: 0n, guest: "", guestMac: ZERO_MAC, flows: 0 });
      const key = u32Layout.encode({ value: index });
      if (readPerCpu(vifCounters, key, vifCountersSize) === undefined)
        updateElement(vifCounters, key, new Uint8Array(vifCountersSize * possibleCpus()));
      const stale = (addressesOf.get(index) ?? []).filter((address) => !vif.addresses.includes(address));
      for (const address of vif.addresses) vifAddresses.set({ address, vif: index }, 1);
      addressesOf.set(index, vif.addresses);
      const before = vifs.get(index);
      metadataAddresses.set(vif.metadataAddress, index);
      // Last: an agent that was killed before finds the vif wanting and does it all again.
      vifs.set(index, encodeVif(vif));
      if (before !== undefined && before.metadataAddress !== vif.metadataAddress)
        metadataAddresses.delete(before.metadataAddress);
      for (const address of stale) vifAddresses.delete({ address, vif: index });
    },
    removeVif: (index) => {
      const before = vifs.get(index);
      if (before !== undefined && metadataAddresses.get(before.metadataAddress) === index)
        metadataAddresses.delete(before.metadataAddress);
      vifs.delete(index);
      for (const address of addressesOf.get(index) ?? []) vifAddresses.delete({ address, vif: index });
      addressesOf.delete(index);
      for (let slot = 0; slot < FRAGMENT_SLOTS_VIF; slot++)
        deleteElement(fragments, fragmentKeyLayout.encode({ vif: index, slot, side: "vif" }));
      datapath.endFlows({ vif: index });
      vifStates.delete(index);
      deleteElement(vifCounters, u32Layout.encode({ value: index }));
    },
    endFlows: ({ vif = 0, service = 0, backend }) => {
      const cb = [vif, service, ...(backend ? [ipv4ToUint32(backend.address), backend.port] : [])];
      return testRun(program("end_flows"), new Uint8Array(ETHERNET_MIN_LENGTH), { cb }).verdict;
    },
    attach: (name, index) => attach(pinDir, how, name, program(name), index),
    detach: (name, index) => detach(pinDir, name, index),
    attachments: () => listAttachments(pinDir),
    counters: () =>
      mapReasons((reason) =>
        sumCounters(readPerCpu(counters, u32Layout.encode({ value: reason }), counterLayout.size)!),
      ),
    vifCounters: (index) => {
      const ofCpus = readPerCpu(vifCounters, u32Layout.encode({ value: index }), vifCountersSize);
      if (ofCpus === undefined) return undefined;
      const at = (reason: number) =>
        [reason * counterLayout.size, (reason + 1) * counterLayout.size] as const;
      return mapReasons((reason) => sumCounters(ofCpus.map((bytes) => bytes.subarray(...at(reason)))));
    },
    onEvent: (listener) => {
      const ring = readRing(mapFd(object, "events"), (record) => listener(eventLayout.read(record)));
      const stop = onReadable(ring.fd, () => ring.consume());
      return () => {
        stop();
        ring.close();
      };
    },
    eventsLost: () =>
      readPerCpu(eventsLost, first, 8)!.reduce((sum, bytes) => sum + u64.read(viewOf(bytes), 0), 0n),
    flowCount: (index) => {
      if (index !== undefined) return vifStates.get(index)?.flows ?? 0;
      const bytes = new Uint8Array(u32Layout.size);
      lookupElement(flowTotal, first, bytes);
      return u32Layout.read(bytes).value;
    },
    run: (name, frame, index = 1) => testRun(program(name), frame, { ifindex: index }),
    close: () => {
      for (const fd of shardFds) closeFd(fd);
      closeObject(object);
    },
  };
  return datapath;
}

function encodeVif(vif: Vif): StructValueOf<typeof vifLayout> {
  const { antiSpoof, hasAddresses, rejectUnknownPort, arpBroadcast } = VIF_FLAGS;
  return {
    metadataAddress: vif.metadataAddress,
    gateway: vif.gateway ?? "",
    guest: vif.addresses[0] ?? "",
    guestMac: vif.mac ?? ZERO_MAC,
    flags:
      (vif.antiSpoof ? antiSpoof : 0) |
      (vif.addresses.length > 0 ? hasAddresses : 0) |
      (vif.unknownPort === "reject" ? rejectUnknownPort : 0) |
      (vif.arpReply === "broadcast" ? arpBroadcast : 0),
  };
}

/** `listed`: what `vif_addresses` has, in no order. */
function decodeVif(entry: StructValueOf<typeof vifLayout>, listed: string[]): Vif {
  const has = (flag: number) => (entry.flags & flag) !== 0;
  return {
    metadataAddress: entry.metadataAddress,
    addresses: [entry.guest, ...listed.filter((address) => address !== entry.guest)].filter(
      (text) => text !== "",
    ),
    mac: entry.guestMac === ZERO_MAC ? undefined : entry.guestMac,
    gateway: entry.gateway === "" ? undefined : entry.gateway,
    antiSpoof: has(VIF_FLAGS.antiSpoof),
    unknownPort: has(VIF_FLAGS.rejectUnknownPort) ? "reject" : "drop",
    arpReply: has(VIF_FLAGS.arpBroadcast) ? "broadcast" : "unicast",
  };
}

function mapReasons(counter: (reason: number) => { frames: bigint; bytes: bigint }): Counters {
  const pairs = Object.entries(REASONS).map(([name, reason]) => [name as Reason, counter(reason)]);
  return Object.fromEntries(pairs);
}

function sumCounters(ofCpus: Uint8Array[]): { frames: bigint; bytes: bigint } {
  const sum = { frames: 0n, bytes: 0n };
  for (const bytes of ofCpus) {
    const { frames, bytes: length } = counterLayout.read(bytes);
    sum.frames += frames;
    sum.bytes += length;
  }
  return sum;
}

/**
 * Takes everything pinned under `pinDir` off its interfaces and removes the pins, and with them maps and flows. Needs neither the object nor
 * maps of this version. A folder that is not there is no error.
 */
export function removeDatapath(pinDir: string): void {
  for (const { program, ifindex } of listAttachments(pinDir)) detach(pinDir, program, ifindex);
  for (const folder of ["links", "filters", "programs", "maps"]) {
    const dir = join(pinDir, folder);
    if (!existsSync(dir)) continue;
    for (const name of readdirSync(dir)) rmSync(join(dir, name));
    rmdirSync(dir);
  }
}
