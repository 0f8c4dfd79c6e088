/** The flow maps: made, listed page by page, and searched by the datapath itself. */
import { join } from "node:path";
import { ETHERNET_HEADER_LENGTH } from "../packet/ethernet.ts";
import { DatapathError } from "./errors.ts";
import { FLOW_SHARDS, flowFilterLayout, flowKeyLayout, flowLayout, u32Layout } from "./layout.ts";
import {
  BPF_F_NO_PREALLOC,
  type BpfObject,
  closeFd,
  createMap,
  getPinned,
  lookupElement,
  MAP_TYPE,
  type MapAttributes,
  mapFd,
  nextBatch,
  pinObject,
  testRun,
  updateElement,
} from "./libbpf.ts";
import type { Flow, FlowFilter, FlowKey, FlowPage } from "./types.ts";

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
  for (let shard = 0; shard < FLOW_SHARDS; shard++) {
    const key = u32Layout.encode({ value: shard });
    const path = shardPin(mapsDir, shard);
    let fd = getPinned(path);
    if (fd === undefined) {
      fd = createMap(shardName(shard), shardAttributes(flowCapacity));
      pinObject(fd, path);
    }
    // An agent may have been killed in between.
    if (!lookupElement(flows, key, new Uint8Array(4)))
      updateElement(flows, key, u32Layout.encode({ value: fd }));
    closeFd(fd);
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

/** What a program finds in one shard, given the filter behind an empty Ethernet header (`struct flow_filter`). */
export function searchFlows(program: number, shard: number, filter: FlowFilter): number {
  const frame = new Uint8Array(ETHERNET_HEADER_LENGTH + flowFilterLayout.size);
  const { vif = 0, service = 0, ifindex = 0, backend = { address: "", port: 0 } } = filter;
  frame.set(
    flowFilterLayout.encode({ vif, service, ifindex, backend: backend.address, backendPort: backend.port }),
    ETHERNET_HEADER_LENGTH,
  );
  return testRun(program, frame, { cb: [shard] }).verdict;
}
