/**
 * What an earlier agent left in the pin folder, perhaps of another version: which maps are kept, and how the entries of the others get into new ones
 * without a frame meeting half of them.
 *
 * New maps are made, and filled, in `next-maps/`, beside links to those that are kept. Then `maps/` becomes `former-maps-1/` and `next-maps/`
 * becomes `maps/`; the new programs take the old ones' places on the interfaces, one by one; the flows that the old programs have opened
 * meanwhile are carried over as well; and the former maps go. While flows are on their way, frames of no flow that would be answered with a RST are
 * dropped (`carrying_flows`): they come again. Whoever is killed in between leaves the next start enough to go on from.
 */
import { existsSync, mkdirSync, readdirSync, renameSync, rmdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { ETHERNET_HEADER_LENGTH } from "../packet/ethernet.ts";
import { isShardName, shardAttributes, shardName } from "./flows.ts";
import { FLOW_SHARDS, u32Layout, vifStateLayout } from "./layout.ts";
import {
  type BpfObject,
  closeFd,
  createMap,
  declaredMaps,
  forEachElement,
  getPinned,
  lookupElement,
  MAP_TYPE,
  type MapAttributes,
  mapAttributes,
  mapFd,
  objectId,
  pinObject,
  possibleCpus,
  testRun,
  updateElement,
} from "./libbpf.ts";
import { type Convert, MAP_LAYOUTS, type MapLayouts, mapConverters, parseLayouts } from "./map-layouts.ts";
import { openStoredSettings } from "./stored-settings.ts";
import type { Adoption } from "./types.ts";

const MAPS = "maps";
const NEXT = "next-maps";
const FORMER = /^former-maps-(\d+)$/;
/** The pin that holds a `MapLayouts` as JSON. */
const LAYOUTS = "layouts";

/** Maps that belong together: flows, the ports that they claim, and their numbers. Where one of them changes, all are made anew. */
const FLOW_MAPS = [
  ...["flows", "reverse", "flow_total", "vif_states"],
  ...Array.from({ length: FLOW_SHARDS }, (_, shard) => shardName(shard)),
];
/** Maps whose entries mean nothing for longer than a moment, or are made anew with the flows. */
const NOT_COPIED = new Set([
  ...["events", "scratch", "sweeper", "fragments", "defences", "flow_filters"],
  ...FLOW_MAPS.filter((name) => name !== "vif_states"),
]);

/** The folders of a pin folder that hold maps. */
export function mapFolders(pinDir: string): string[] {
  if (!existsSync(pinDir)) return [];
  return readdirSync(pinDir).filter((name) => name === MAPS || name === NEXT || FORMER.test(name));
}

/** What is to be done with the maps that are pinned. */
export interface MapPlan {
  /** Where the object's maps are to be pinned, or are found pinned. */
  dir: string;
  flowCapacity: number;
  /** Whether there were any. */
  adopted: boolean;
  /** By name; `carried` as far as its entries can be. */
  kept: string[];
  carried: string[];
  replaced: string[];
}

/** Compares what is pinned with what an object declares, and makes the folder for its maps. */
export function planMaps(pinDir: string, object: BpfObject, flowCapacity: number): MapPlan {
  const maps = join(pinDir, MAPS);
  const next = join(pinDir, NEXT);
  // Cut short between the two renames, or before them.
  if (existsSync(next) && !existsSync(maps)) renameSync(next, maps);
  removeFolder(next);

  const adopted = existsSync(join(maps, "settings"));
  const reverse = attributesOfPin(join(maps, "reverse"));
  const capacity = Math.max(flowCapacity, reverse?.maxEntries ?? 0);
  const { kept, carried, replaced } = comparePins(maps, declaredWith(object, capacity));
  const plan = { flowCapacity: capacity, adopted, kept, carried, replaced };
  if (carried.length + replaced.length === 0) {
    mkdirSync(maps, { recursive: true, mode: 0o700 });
    pinLayouts(maps);
    return { ...plan, dir: maps };
  }
  mkdirSync(next, { mode: 0o700 });
  pinLayouts(next);
  for (const name of kept) pinAgain(join(maps, name), join(next, name));
  return { ...plan, dir: next };
}

/** What the maps of this version are made with, the shards included. */
function declaredWith(object: BpfObject, flowCapacity: number): Map<string, MapAttributes> {
  const declared = declaredMaps(object);
  declared.set("reverse", { ...declared.get("reverse")!, maxEntries: flowCapacity });
  for (let shard = 0; shard < FLOW_SHARDS; shard++)
    declared.set(shardName(shard), shardAttributes(flowCapacity));
  return declared;
}

function comparePins(
  dir: string,
  declared: Map<string, MapAttributes>,
): Pick<MapPlan, "kept" | "carried" | "replaced"> {
  const layouts = readLayouts(dir);
  const pinned = [...declared.keys()].filter((name) => existsSync(join(dir, name)));
  const isSame = (name: string) =>
    sameValue(attributesOfPin(join(dir, name)), declared.get(name)) &&
    sameValue(layouts[name], MAP_LAYOUTS[name]);
  const changed = new Set(pinned.filter((name) => !isSame(name)));
  if (FLOW_MAPS.some((name) => changed.has(name)))
    for (const name of pinned) if (FLOW_MAPS.includes(name)) changed.add(name);

  const isCarried = (name: string) =>
    FLOW_MAPS.includes(name)
      ? flowConverters(layouts) !== undefined
      : !NOT_COPIED.has(name) && mapConverters(layouts[name], MAP_LAYOUTS[name]) !== undefined;
  return {
    kept: pinned.filter((name) => !changed.has(name)),
    carried: [...changed].filter(isCarried),
    replaced: [...changed].filter((name) => !isCarried(name)),
  };
}

function sameValue(a: object | undefined, b: object | undefined): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

/** How flows are read: those of the first shard stand for all. */
function flowConverters(layouts: MapLayouts) {
  return mapConverters(layouts[shardName(0)], MAP_LAYOUTS[shardName(0)]);
}

/**
 * Brings the entries of the maps that are not kept into those of the loaded object, puts these in their places, has the programs changed over
 * (`renew`), and takes over what was opened until then. `carry` is the program that takes a flow over.
 */
export function adoptMaps(
  pinDir: string,
  object: BpfObject,
  plan: MapPlan,
  carry: number,
  renew: () => void,
): Adoption {
  const maps = join(pinDir, MAPS);
  const { kept, carried, replaced } = plan;
  if (plan.dir !== maps) {
    for (const name of carried) if (!NOT_COPIED.has(name)) copyMap(maps, name, object);
    for (const dir of [...formerFolders(pinDir), maps]) carryFlows(dir, plan.dir, carry);
    renameSync(maps, freeFormerFolder(pinDir));
    renameSync(plan.dir, maps);
  }
  const former = formerFolders(pinDir);
  const settings = openStoredSettings(mapFd(object, "settings"));
  if (former.length > 0) {
    settings.change({ carryingFlows: 1 });
    renew();
  }
  let flows = 0;
  for (const dir of former) {
    flows += carryFlows(dir, maps, carry);
    removeFolder(dir);
  }
  // An agent that was killed may have left it.
  if (settings.read().carryingFlows !== 0) settings.change({ carryingFlows: 0 });
  return { kept: forPeople(kept), carried: forPeople(carried), replaced: forPeople(replaced), flows };
}

/** The shards are `flows`, as far as people are concerned. */
function forPeople(names: string[]): string[] {
  return names.filter((name) => !isShardName(name)).sort();
}

/** Copies the entries of a pinned map of another version into the object's. */
function copyMap(dir: string, name: string, object: BpfObject): void {
  const converters = mapConverters(readLayouts(dir)[name], MAP_LAYOUTS[name])!;
  const target = mapFd(object, name);
  withPin(join(dir, name), (source) => {
    const { type, keySize, valueSize, maxEntries } = mapAttributes(source);
    if (type !== mapAttributes(target).type) return;
    const put = (key: Uint8Array, value: Uint8Array) =>
      updateElement(
        target,
        converters.key(key),
        convertValue(name, type, converters.value, valueSize, value),
      );
    if (type === MAP_TYPE.hash) forEachElement(source, keySize, valueSize, put);
    else
      for (let index = 0; index < maxEntries; index++) {
        const key = u32Layout.encode({ value: index });
        const value = new Uint8Array(strideOf(type, valueSize) * (isPerCpu(type) ? possibleCpus() : 1));
        if (lookupElement(source, key, value)) put(key, value);
      }
  });
}

function isPerCpu(type: number): boolean {
  return type === MAP_TYPE.perCpuArray || type === MAP_TYPE.perCpuHash;
}

/** From one CPU's value to the next: the kernel rounds each up to 8 bytes. */
function strideOf(type: number, valueSize: number): number {
  return isPerCpu(type) ? Math.ceil(valueSize / 8) * 8 : valueSize;
}

function convertValue(
  name: string,
  type: number,
  convert: Convert,
  valueSize: number,
  value: Uint8Array,
): Uint8Array {
  const stride = strideOf(type, valueSize);
  const converted: Uint8Array[] = [];
  for (let at = 0; at < value.length; at += stride) {
    const one = convert(value.subarray(at, at + valueSize));
    // The flows are counted as they are carried over.
    if (name === "vif_states") one.fill(0, vifStateLayout.offsets.flows!, vifStateLayout.offsets.flows! + 4);
    const room = new Uint8Array(strideOf(type, one.length));
    room.set(one);
    converted.push(room);
  }
  return Buffer.concat(converted);
}

/**
 * Takes over the flows that are pinned in a folder, unless those in another are the very same maps; returns how many. What cannot be read as
 * flows is passed over.
 */
function carryFlows(from: string, to: string, carry: number): number {
  const converters = flowConverters(readLayouts(from));
  const isSameMap = idOfPin(join(from, shardName(0))) === idOfPin(join(to, shardName(0)));
  if (converters === undefined || isSameMap) return 0;
  let carried = 0;
  // As many as that version has made.
  for (const shard of readdirSync(from).filter(isShardName)) {
    withPin(join(from, shard), (fd) => {
      const { keySize, valueSize } = mapAttributes(fd);
      forEachElement(fd, keySize, valueSize, (key, value) => {
        const frame = Buffer.concat([
          new Uint8Array(ETHERNET_HEADER_LENGTH),
          converters.key(key),
          converters.value(value),
        ]);
        carried += testRun(carry, frame).verdict;
      });
    });
  }
  return carried;
}

function formerFolders(pinDir: string): string[] {
  return mapFolders(pinDir)
    .filter((name) => FORMER.test(name))
    .map((name) => join(pinDir, name));
}

function freeFormerFolder(pinDir: string): string {
  const numbers = mapFolders(pinDir).map((name) => Number(FORMER.exec(name)?.[1] ?? 0));
  return join(pinDir, `former-maps-${Math.max(0, ...numbers) + 1}`);
}

/** Removes a folder of pins, if it is there. */
export function removeFolder(dir: string): void {
  if (!existsSync(dir)) return;
  for (const name of readdirSync(dir)) rmSync(join(dir, name));
  rmdirSync(dir);
}

/** Undefined where nothing is pinned. */
function withPin<T>(path: string, use: (fd: number) => T): T | undefined {
  const fd = existsSync(path) ? getPinned(path) : undefined;
  if (fd === undefined) return undefined;
  try {
    return use(fd);
  } finally {
    closeFd(fd);
  }
}

const attributesOfPin = (path: string) => withPin(path, mapAttributes);
const idOfPin = (path: string) => withPin(path, objectId);

function pinAgain(from: string, to: string): void {
  withPin(from, (fd) => pinObject(fd, to));
}

/** Pins what the maps of this version hold, where that is not told yet. */
function pinLayouts(dir: string): void {
  const path = join(dir, LAYOUTS);
  if (existsSync(path)) return;
  const text = Buffer.from(JSON.stringify(MAP_LAYOUTS));
  const fd = createMap("onlink_layouts", {
    type: MAP_TYPE.array,
    keySize: u32Layout.size,
    valueSize: text.length,
    maxEntries: 1,
    flags: 0,
  });
  try {
    updateElement(fd, u32Layout.encode({ value: 0 }), text);
    pinObject(fd, path);
  } finally {
    closeFd(fd);
  }
}

/** What the maps pinned in a folder hold; nothing where that is not told. */
function readLayouts(dir: string): MapLayouts {
  const layouts = withPin(join(dir, LAYOUTS), (fd) => {
    const text = new Uint8Array(mapAttributes(fd).valueSize);
    lookupElement(fd, u32Layout.encode({ value: 0 }), text);
    return parseLayouts(Buffer.from(text).toString());
  });
  return layouts ?? {};
}
