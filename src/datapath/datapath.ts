/**
 * Loads the datapath, or adopts what an earlier agent left: maps are reused by their pins, programs are loaded anew, and
 * attaching swaps them under the links that are there. Layout of the pin folder: `maps/`, `programs/`, and `attachments.ts`'s.
 */
import { randomInt } from "node:crypto";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { onReadable } from "../linux/readable.ts";
import { isInPrefix, LINK_LOCAL_PREFIX } from "../packet/address.ts";
import { viewOf } from "../packet/bytes.ts";
import { ETHERNET_MIN_LENGTH } from "../packet/ethernet.ts";
import { adoptMaps, mapFolders, planMaps, removeFolder } from "./adoption.ts";
import { detach, isAttached, listAttachments, openAttachments, renewAll } from "./attachments.ts";
import { openCounters } from "./counters.ts";
import { DatapathError } from "./errors.ts";
import { addCounts, flowPage, makeShards, openFlowSearch, openShards } from "./flows.ts";
import {
  backendKeyLayout,
  backendLayout,
  eventLayout,
  ipAddressLayout,
  serviceAddressLayout,
  serviceCountersLayout,
  serviceKeyLayout,
  serviceLayout,
  u32Layout,
} from "./layout.ts";
import {
  type BpfObject,
  closeFd,
  closeObject,
  getPinned,
  loadObject,
  lookupElement,
  mapFd,
  openObject,
  preparePins,
  programFd,
  readRing,
  supportsTcx,
  testRun,
} from "./libbpf.ts";
import { openMap, plain, readPerCpu, single } from "./maps.ts";
import { OBJECT_FILE } from "./object.ts";
import { replacePin } from "./pins.ts";
import { withCounters } from "./service-counters.ts";
import { openStoredSettings } from "./stored-settings.ts";
import { u64 } from "./struct.ts";
import type { BackendEntry, Datapath, DatapathOptions, FlowFilter, ServiceAddress } from "./types.ts";
import { openVifs } from "./vifs.ts";

const PROGRAMS = {
  vif: "onlink_vif",
  host: "onlink_host",
  fabric: "onlink_fabric",
  end_flows: "onlink_end_flows",
  count_flows: "onlink_count_flows",
  add_counts: "onlink_add_counts",
  carry_flow: "onlink_carry_flow",
  start_sweeping: "onlink_start_sweeping",
} as const;

/** With more flows than this their counts are left to the sweep: to walk through a million at once takes 0.16 s, in which the agent serves nobody. */
const MAX_COUNTED_AT_ONCE = 65_536;

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
  const programsDir = join(pinDir, "programs");
  mkdirSync(programsDir, { recursive: true, mode: 0o700 });
  const object = openObject(OBJECT_FILE);
  try {
    const plan = planMaps(pinDir, object, options.flowCapacity);
    preparePins(object, plan.dir, (name) => (name === "reverse" ? plan.flowCapacity : undefined));
    loadObject(object);
    makeShards(object, plan.dir, plan.flowCapacity);
    const program = (name: keyof typeof PROGRAMS) => programFd(object, PROGRAMS[name]);
    const adoption = adoptMaps(pinDir, object, plan, program("carry_flow"), () => renewAll(pinDir, program));
    for (const name of Object.values(PROGRAMS)) replacePin(programFd(object, name), join(programsDir, name));
    const tcx = options.attach === "auto" ? supportsTcx(program("vif")) : options.attach === "tcx";
    return overObject(object, pinDir, tcx ? "tcx" : "clsact", plan.adopted ? adoption : undefined);
  } catch (error) {
    closeObject(object);
    throw error;
  }
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

function overObject(
  object: BpfObject,
  pinDir: string,
  how: Datapath["how"],
  adopted: Datapath["adopted"],
): Datapath {
  const program = (name: keyof typeof PROGRAMS) => programFd(object, PROGRAMS[name]);
  const map = (name: string) => mapFd(object, name);
  const settings = openStoredSettings(map("settings"));
  const flowTotal = map("flow_total");
  const counters = openCounters(map("counters"), map("vif_counters"));
  const vifs = openVifs(map, counters);
  const first = u32Layout.encode({ value: 0 });
  const shards = openShards(join(pinDir, "maps"));
  const search = openFlowSearch(map("flow_filters"), shards.length);
  const attachments = openAttachments({ pinDir, how, program });
  const countFlows = () => {
    const bytes = new Uint8Array(u32Layout.size);
    lookupElement(flowTotal, first, bytes);
    return u32Layout.read(bytes).value;
  };
  // Without any flow there is nothing to go through.
  const endFlows = (filters: readonly FlowFilter[]) =>
    countFlows() === 0 ? filters.map(() => 0) : search.each(program("end_flows"), filters);

  const serviceAddresses = openMap(
    map("service_addresses"),
    single(ipAddressLayout, "words"),
    plain(serviceAddressLayout),
  );
  const services = openMap(map("services"), plain(serviceKeyLayout), plain(serviceLayout));
  const serviceCounters = openMap(
    map("service_counters"),
    single(u32Layout, "value"),
    plain(serviceCountersLayout),
  );

  function setAddresses(entries: ReadonlyArray<[string, ServiceAddress]>): void {
    // Until now the datapath may have looked at link-local destinations alone. Never taken back: it only saves time.
    if (!entries.every(([address]) => isInPrefix(address, LINK_LOCAL_PREFIX)))
      settings.change({ otherAddresses: 1 });
    serviceAddresses.setAll(entries);
  }

  return {
    how,
    adopted,
    serviceAddresses: {
      ...serviceAddresses,
      set: (address, value) => setAddresses([[address, value]]),
      setAll: setAddresses,
    },
    services: withCounters(services, serviceCounters),
    backends: openMap(map("backends"), plain(backendKeyLayout), {
      layout: backendLayout,
      toStruct: (entry: BackendEntry) => ({ source: "", ifindex: 0, ...entry }),
      fromStruct: ({ kind, address, port, source, ifindex }): BackendEntry =>
        kind === "fabric" ? { kind, address, port, source, ifindex } : { kind, address, port },
    }),
    settings: () => {
      const { hashSeed, otherAddresses: _, carryingFlows: __, flowEvents, ...value } = settings.read();
      return hashSeed === 0 ? undefined : { ...value, flowEvents: flowEvents !== 0 };
    },
    setSettings: ({ flowEvents, ...value }) => {
      settings.change({
        ...value,
        flowEvents: Number(flowEvents),
        // The seed says in which shard a flow is found: it is drawn once for all.
        hashSeed: settings.read().hashSeed || randomInt(1, 2 ** 32),
      });
    },
    vifs: vifs.all,
    setVif: vifs.set,
    removeVif: (index) => vifs.remove(index, () => endFlows([{ vif: index }])),
    vifEvidence: vifs.evidence,
    flowPage: ({ cursor, limit }) => flowPage(shards, cursor, limit),
    endFlows,
    addCounts() {
      const flows = countFlows();
      if (flows > 0 && flows <= MAX_COUNTED_AT_ONCE) addCounts(program("add_counts"), shards.length);
    },
    hasFlows: (filter) => search.any(program("count_flows"), filter),
    attach: attachments.attach,
    detach: attachments.detach,
    attachments: () => listAttachments(pinDir),
    isAttached: (name, index) => isAttached(pinDir, name, index),
    counters: counters.total,
    serviceCounters: () => new Map(serviceCounters.entries()),
    vifCounters: counters.vif,
    onEvent: (listener) => {
      const ring = readRing(map("events"), (record) => listener(eventLayout.read(record)));
      const stop = onReadable(ring.fd, () => ring.consume());
      return () => {
        stop();
        ring.close();
      };
    },
    eventsLost: () =>
      readPerCpu(map("events_lost"), first, 8)!.reduce((sum, bytes) => sum + u64.read(viewOf(bytes), 0), 0n),
    flowCount: (index) => (index === undefined ? countFlows() : vifs.flows(index)),
    run: (name, frame, index = 1) => testRun(program(name), frame, { ifindex: index }),
    close: () => {
      attachments.close();
      for (const fd of shards) closeFd(fd);
      closeObject(object);
    },
  };
}

/**
 * Takes everything pinned under `pinDir` off its interfaces and removes the pins, and with them maps and flows. Needs neither the object nor
 * maps of this version. A folder that is not there is no error.
 */
export function removeDatapath(pinDir: string): void {
  for (const { program, ifindex } of listAttachments(pinDir)) detach(pinDir, program, ifindex);
  for (const folder of ["links", "filters", "programs", ...mapFolders(pinDir)])
    removeFolder(join(pinDir, folder));
}
