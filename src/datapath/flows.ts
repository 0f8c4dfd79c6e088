/** The flow maps: made, listed page by page, and searched by the datapath itself. */
import { join } from "node:path";
import { ETHERNET_MIN_LENGTH } from "../packet/ethernet.ts";
import { DatapathError } from "./errors.ts";
import {
  FLOW_FIELDS,
  FLOW_SHARDS,
  flowFilterLayout,
  flowKeyLayout,
  flowLayout,
  u32Layout,
} from "./layout.ts";
import {
  BPF_F_NO_PREALLOC,
  type BpfObject,
  closeFd,
  createMap,
  getPinned,
  lookupElement,
  MAP_TYPE,
  type MapAttributes,
  mapAttributes,
  mapFd,
  nextBatch,
  pinObject,
  testRun,
  updateElements,
} from "./libbpf.ts";
import { openMap, plain, single } from "./maps.ts";
import type { Flow, FlowFilter, FlowKey, FlowPage } from "./types.ts";

/** For programs that are given all by other ways; the kernel wants a frame. */
const EMPTY_FRAME = new Uint8Array(ETHERNET_MIN_LENGTH);

/**
 * Room in one shard for the flows that it holds on average: the hash does not spread them evenly, and a shard that is full refuses new flows though
 * others have room.
 */
const SHARD_SLACK = 2;

/**
 * Makes the maps inside `flows` that are not there yet, each pinned in `mapsDir` besides: they could be found by their ids in `flows`, but
 * the kernel gives maps by id to CAP_SYS_ADMIN alone.
 */
export function makeShards(object: BpfObject, mapsDir: string, flowCapacity: number): void {
  const flows = mapFd(object, "flows");
  const shards: number[] = [];
  const missing: number[] = [];
  try {
    for (let shard = 0; shard < FLOW_SHARDS; shard++) {
      const key = u32Layout.encode({ value: shard });
      const path = shardPin(mapsDir, shard);
      const pinned = getPinned(path);
      const fd = pinned ?? createMap(shardName(shard), shardAttributes(flowCapacity));
      shards.push(fd);
      if (pinned === undefined) pinObject(fd, path);
      // An agent may have been killed in between.
      if (!lookupElement(flows, key, new Uint8Array(4))) missing.push(shard);
    }
    const encode = (values: number[]) => u32Layout.encodeAll(values.map((value) => ({ value })));
    updateElements(flows, encode(missing), encode(missing.map((shard) => shards[shard]!)), missing.length);
  } finally {
    for (const fd of shards) closeFd(fd);
  }
}

/** The maps inside `flows`, opened; to be closed by the caller. */
export function openShards(mapsDir: string): number[] {
  return Array.from({ length: FLOW_SHARDS }, (_, shard) => getPinned(shardPin(mapsDir, shard))!);
}

/** The name of a shard's pin. */
export function shardName(shard: number): string {
  return `flows_${shard}`;
}

/** Whether a pin is a shard, of this version or another, which may have had more or fewer. */
export function isShardName(name: string): boolean {
  return /^flows_\d+$/.test(name);
}

function shardPin(mapsDir: string, shard: number): string {
  return join(mapsDir, shardName(shard));
}

/** What a shard is made with where all of them are to hold so many flows. */
export function shardAttributes(flowCapacity: number): MapAttributes {
  return {
    type: MAP_TYPE.hash,
    keySize: flowKeyLayout.size,
    valueSize: flowLayout.size,
    maxEntries: Math.ceil(flowCapacity / FLOW_SHARDS) * SHARD_SLACK,
    flags: BPF_F_NO_PREALLOC,
  };
}

/** Where a page begins: a shard, and the bucket in it. */
interface Position {
  shard: number;
  bucket: number;
}

/** Throws `DatapathError` on anything that `formatCursor` has not made. */
function parseCursor(cursor: string): Position {
  const match = /^(\d{1,2})\.(\d{1,10})$/.exec(cursor);
  const position = { shard: Number(match?.[1]), bucket: Number(match?.[2]) };
  if (!(position.shard < FLOW_SHARDS && position.bucket < 2 ** 32))
    throw new DatapathError(`"${cursor}" is not a cursor of the list of flows: begin without one`);
  return position;
}

function formatCursor({ shard, bucket }: Position): string {
  return `${shard}.${bucket}`;
}

/** See `Datapath.flowPage`. `shards`: the descriptors of the flow maps. */
export function flowPage(shards: readonly number[], cursor: string | undefined, limit: number): FlowPage {
  const flows: Array<[FlowKey, Flow]> = [];
  let { shard, bucket } = cursor === undefined ? { shard: 0, bucket: 0 } : parseCursor(cursor);
  while (shard < shards.length) {
    if (flows.length >= limit) return { flows, next: formatCursor({ shard, bucket }) };
    let room = limit - flows.length;
    let batch = nextBatch(shards[shard]!, bucket, flowKeyLayout.size, flowLayout.size, room);
    // The kernel gives whole buckets: the next one goes on the next page, or is a page of its own.
    if (batch === undefined && flows.length > 0) return { flows, next: formatCursor({ shard, bucket }) };
    while (batch === undefined) {
      room *= 2;
      batch = nextBatch(shards[shard]!, bucket, flowKeyLayout.size, flowLayout.size, room);
    }
    for (const [key, value] of batch.entries) flows.push([flowKeyLayout.read(key), flowLayout.read(value)]);
    if (batch.next === undefined) {
      shard++;
      bucket = 0;
    } else bucket = batch.next;
  }
  return { flows };
}

/** Has the datapath add what the flows of so many shards have carried to the counters of vifs and services. `program`: `onlink_add_counts`. */
export function addCounts(program: number, shards: number): void {
  for (let shard = 0; shard < shards; shard++) testRun(program, EMPTY_FRAME, { cb: [shard, 0] });
}

/** Looks through the flows for those that filters are about. */
export interface FlowSearch {
  /** Runs a program (`onlink_end_flows` or `onlink_count_flows`) over all flows; how many it found for each filter. */
  each(program: number, filters: readonly FlowFilter[]): number[];
  /** Whether a program finds any; it goes no further than it has to. */
  any(program: number, filter: FlowFilter): boolean;
}

/**
 * A search over so many shards by the map `flow_filters`, whose descriptor is `fd`. However many filters there are, all that look at the same
 * fields take one walk, up to the capacity of the map, which is empty but for that time.
 */
export function openFlowSearch(fd: number, shards: number): FlowSearch {
  const map = openMap(fd, plain(flowFilterLayout), single(u32Layout, "value"));
  const { maxEntries } = mapAttributes(fd);

  /** One walk, shard by shard, so that a million flows do not hold up a CPU. */
  function* walk(program: number, filters: readonly FlowFilter[]): Generator<number> {
    // An agent that was killed may have left some.
    for (const [key] of map.entries()) map.delete(key);
    for (const filter of filters) map.set(toStruct(filter), 0);
    const fields = fieldsOf(filters[0]!);
    for (let shard = 0; shard < shards; shard++)
      yield testRun(program, EMPTY_FRAME, { cb: [shard, fields] }).verdict;
  }

  return {
    each(program, filters) {
      const counts = new Map<FlowFilter, number>();
      for (const same of groupBy(filters, fieldsOf).values()) {
        for (let first = 0; first < same.length; first += maxEntries) {
          const some = same.slice(first, first + maxEntries);
          for (const _ of walk(program, some));
          for (const filter of some) counts.set(filter, map.get(toStruct(filter)) ?? 0);
        }
      }
      return filters.map((filter) => counts.get(filter)!);
    },
    any(program, filter) {
      for (const found of walk(program, [filter])) if (found > 0) return true;
      return false;
    },
  };
}

function groupBy<T, K>(items: readonly T[], keyOf: (item: T) => K): Map<K, T[]> {
  const groups = new Map<K, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [item]);
    else group.push(item);
  }
  return groups;
}

/** The fields that a filter looks at, `enum flow_field`. */
function fieldsOf({ vif, service, address, backend, ifindex }: FlowFilter): number {
  return (
    (vif === undefined ? 0 : FLOW_FIELDS.vif) |
    (service === undefined ? 0 : FLOW_FIELDS.service) |
    (address === undefined ? 0 : FLOW_FIELDS.address) |
    (backend === undefined ? 0 : FLOW_FIELDS.backend) |
    (ifindex === undefined ? 0 : FLOW_FIELDS.ifindex)
  );
}

function toStruct({ vif = 0, service = 0, address = "", backend, ifindex = 0 }: FlowFilter) {
  return { vif, service, address, backend: backend?.address ?? "", backendPort: backend?.port ?? 0, ifindex };
}
