/**
 * The calls of the system's libbpf (1.x) that the datapath needs, and nothing above them. The only file of this folder that knows koffi.
 *
 * Memory: objects (`BpfObject`) belong to libbpf until `closeObject`; file descriptors belong to the caller; buffers are ours and
 * only have to live for the call. Every call is synchronous. Errors throw `DatapathError` with what was tried and the errno.
 */
import { closeSync } from "node:fs";
import { getSystemErrorMap } from "node:util";
import koffi from "koffi";
import { DatapathError, EntryError } from "./errors.ts";

/** `bpf_attach_type` BPF_TCX_INGRESS and BPF_TCX_EGRESS (Linux 6.6). */
const TCX = { ingress: 46, egress: 47 } as const;
/** `bpf_map_type`. */
export const MAP_TYPE = { hash: 1, array: 2, perCpuHash: 5, perCpuArray: 6, lruHash: 9 };
/** Flag of hash maps: elements are allocated as they come. */
export const BPF_F_NO_PREALLOC = 1;
/** Of the verifier's log, what is wrong and the figures at the end: not the steps before it, which fill any buffer (BPF_LOG_STATS). */
const LOG_STATS = 4;
/** `bpf_tc_attach_point`. */
const CLSACT = { ingress: 1, egress: 2 } as const;
const BPF_TC_F_REPLACE = 1;
/** Where our clsact filters sit. */
const FILTER_PRIORITY = 1;

const ENOENT = 2;
const EEXIST = 17;
const ENODEV = 19;
const EINVAL = 22;
const ENOSPC = 28;
/** What the kernel's own code knows as "not supported"; no libc has a name for it. */
const ENOTSUPP = 524;

/** An opened libbpf object. */
export type BpfObject = { readonly __brand: "bpf_object" };
type BpfProgram = { readonly __brand: "bpf_program" };
type BpfMap = { readonly __brand: "bpf_map" };

const TcHook = koffi.struct("bpf_tc_hook", {
  sz: "size_t",
  ifindex: "int",
  attach_point: "int",
  parent: "uint32_t",
});
const TcOpts = koffi.struct("bpf_tc_opts", {
  sz: "size_t",
  prog_fd: "int",
  flags: "uint32_t",
  prog_id: "uint32_t",
  handle: "uint32_t",
  priority: "uint32_t",
});
const TestRunOpts = koffi.struct("bpf_test_run_opts", {
  sz: "size_t",
  data_in: "void *",
  data_out: "void *",
  data_size_in: "uint32_t",
  data_size_out: "uint32_t",
  ctx_in: "void *",
  ctx_out: "void *",
  ctx_size_in: "uint32_t",
  ctx_size_out: "uint32_t",
  retval: "uint32_t",
  repeat: "int",
  duration: "uint32_t",
  flags: "uint32_t",
  cpu: "uint32_t",
  batch_size: "uint32_t",
});

const MapCreateOpts = koffi.struct("bpf_map_create_opts", {
  sz: "size_t",
  btf_fd: "uint32_t",
  btf_key_type_id: "uint32_t",
  btf_value_type_id: "uint32_t",
  btf_vmlinux_value_type_id: "uint32_t",
  inner_map_fd: "uint32_t",
  map_flags: "uint32_t",
  map_extra: "uint64_t",
  numa_node: "uint32_t",
  map_ifindex: "uint32_t",
});

const SampleCallback = koffi.proto("int ring_buffer_sample_fn(void *context, void *data, size_t size)");

type Lib = ReturnType<typeof bind>;
let loaded: Lib | undefined;

/** Loads the library at first use, so that commands which need no datapath run without it. */
function lib(): Lib {
  loaded ??= bind();
  return loaded;
}

function bind() {
  let library: ReturnType<typeof koffi.load>;
  try {
    library = koffi.load("libbpf.so.1");
  } catch {
    throw new DatapathError("libbpf.so.1 cannot be loaded; install libbpf 1.x (Debian: apt install libbpf1)");
  }
  const bound = {
    setPrint: library.func("void *libbpf_set_print(void *callback)"),
    version: library.func("const char *libbpf_version_string()"),
    possibleCpus: library.func("int libbpf_num_possible_cpus()"),
    open: library.func("void *bpf_object__open_file(const char *path, void *opts)"),
    load: library.func("int bpf_object__load(void *object)"),
    close: library.func("void bpf_object__close(void *object)"),
    findProgram: library.func("void *bpf_object__find_program_by_name(void *object, const char *name)"),
    nextProgram: library.func("void *bpf_object__next_program(void *object, void *program)"),
    programFd: library.func("int bpf_program__fd(void *program)"),
    setLogBuffer: library.func("int bpf_program__set_log_buf(void *program, void *buffer, size_t size)"),
    setLogLevel: library.func("int bpf_program__set_log_level(void *program, uint32_t level)"),
    nextMap: library.func("void *bpf_object__next_map(void *object, void *map)"),
    findMap: library.func("void *bpf_object__find_map_by_name(void *object, const char *name)"),
    mapName: library.func("const char *bpf_map__name(void *map)"),
    mapFd: library.func("int bpf_map__fd(void *map)"),
    setPinPath: library.func("int bpf_map__set_pin_path(void *map, const char *path)"),
    mapType: library.func("int bpf_map__type(void *map)"),
    mapKeySize: library.func("uint32_t bpf_map__key_size(void *map)"),
    mapValueSize: library.func("uint32_t bpf_map__value_size(void *map)"),
    mapMaxEntries: library.func("uint32_t bpf_map__max_entries(void *map)"),
    mapFlags: library.func("uint32_t bpf_map__map_flags(void *map)"),
    setMaxEntries: library.func("int bpf_map__set_max_entries(void *map, uint32_t entries)"),
    update: library.func("int bpf_map_update_elem(int fd, void *key, void *value, uint64_t flags)"),
    lookup: library.func("int bpf_map_lookup_elem(int fd, void *key, void *value)"),
    delete: library.func("int bpf_map_delete_elem(int fd, void *key)"),
    updateBatch: library.func(
      "int bpf_map_update_batch(int fd, const void *keys, const void *values, _Inout_ uint32_t *count, const void *opts)",
    ),
    deleteBatch: library.func(
      "int bpf_map_delete_batch(int fd, const void *keys, _Inout_ uint32_t *count, const void *opts)",
    ),
    lookupBatch: library.func(
      "int bpf_map_lookup_batch(int fd, void *in, void *out, void *keys, void *values, _Inout_ uint32_t *count, void *opts)",
    ),
    createMap: library.func(
      "int bpf_map_create(int type, const char *name, uint32_t key_size, uint32_t value_size, uint32_t max_entries, _Inout_ bpf_map_create_opts *opts)",
    ),
    pin: library.func("int bpf_obj_pin(int fd, const char *path)"),
    get: library.func("int bpf_obj_get(const char *path)"),
    info: library.func("int bpf_obj_get_info_by_fd(int fd, void *info, _Inout_ uint32_t *length)"),
    linkCreate: library.func("int bpf_link_create(int program, int target, int type, void *opts)"),
    linkUpdate: library.func("int bpf_link_update(int link, int program, void *opts)"),
    linkDetach: library.func("int bpf_link_detach(int link)"),
    hookCreate: library.func("int bpf_tc_hook_create(_Inout_ bpf_tc_hook *hook)"),
    hookDestroy: library.func("int bpf_tc_hook_destroy(_Inout_ bpf_tc_hook *hook)"),
    tcAttach: library.func("int bpf_tc_attach(_Inout_ bpf_tc_hook *hook, _Inout_ bpf_tc_opts *opts)"),
    tcQuery: library.func("int bpf_tc_query(_In_ bpf_tc_hook *hook, _Inout_ bpf_tc_opts *opts)"),
    tcDetach: library.func("int bpf_tc_detach(_Inout_ bpf_tc_hook *hook, _Inout_ bpf_tc_opts *opts)"),
    testRun: library.func("int bpf_prog_test_run_opts(int program, _Inout_ bpf_test_run_opts *opts)"),
    ringNew: library.func(
      "void *ring_buffer__new(int fd, ring_buffer_sample_fn *sample, void *context, void *opts)",
    ),
    ringFd: library.func("int ring_buffer__epoll_fd(void *ring)"),
    ringConsume: library.func("int ring_buffer__consume(void *ring)"),
    ringFree: library.func("void ring_buffer__free(void *ring)"),
    btfParse: library.func("void *btf__parse(const char *path, void *ext)"),
    btfRaw: library.func("void *btf__raw_data(void *btf, _Out_ uint32_t *size)"),
    btfFree: library.func("void btf__free(void *btf)"),
  };
  // libbpf prints to stderr unless told otherwise; what matters of it comes back as an error.
  bound.setPrint(null);
  return bound;
}

/** Text of an errno, such as "EPERM (operation not permitted)". */
function errnoText(errno: number): string {
  const entry = getSystemErrorMap().get(-errno);
  return entry ? `${entry[0]} (${entry[1]})` : `errno ${errno}`;
}

/** Throws unless `result` is what libbpf gives for success; returns it otherwise. */
function check(result: number, what: string, ...fine: number[]): number {
  if (result >= 0 || fine.includes(-result)) return result;
  throw new DatapathError(`${what}: ${errnoText(-result)}`, -result);
}

function checkPointer<T>(pointer: unknown, what: string): T {
  if (pointer) return pointer as T;
  const errno = koffi.errno();
  throw new DatapathError(`${what}: ${errnoText(errno)}`, errno);
}

/** Version of the library, such as "v1.1". */
export function libbpfVersion(): string {
  return lib().version() as string;
}

/** CPUs that the kernel could have; per-CPU values come once for each. */
export function possibleCpus(): number {
  return check(lib().possibleCpus(), "count the possible CPUs");
}

/** Opens a compiled object; nothing reaches the kernel yet. */
export function openObject(path: string): BpfObject {
  return checkPointer<BpfObject>(lib().open(path, null), `open ${path}`);
}

/** Frees the object; what was pinned or attached stays. */
export function closeObject(object: BpfObject): void {
  lib().close(object);
}

/** Loads maps and programs. The error carries the verifier's reason where the verifier said no. */
export function loadObject(object: BpfObject): void {
  const logs: Buffer[] = [];
  for (let program = lib().nextProgram(object, null); program; program = lib().nextProgram(object, program)) {
    const log = Buffer.alloc(64 * 1024);
    logs.push(log);
    check(lib().setLogBuffer(program, log, log.length), "set the verifier's log");
    check(lib().setLogLevel(program, LOG_STATS), "set the verifier's log");
  }
  const result = lib().load(object) as number;
  if (result >= 0) return;
  const said = logs
    .map((log) => verifierReason(log.toString("latin1", 0, log.indexOf(0))))
    .filter((text) => text !== "");
  throw new DatapathError(`load the datapath: ${[errnoText(-result), ...said].join(": ")}`, -result);
}

/** What a log of the verifier says is wrong; empty where nothing is, and only the figures are there. */
function verifierReason(log: string): string {
  const figures = /^(verification time|stack depth|processed) /;
  return log
    .split("\n")
    .filter((line) => line !== "" && !figures.test(line))
    .join("; ");
}

/** Name, and capacity when it is to differ from the object's, of each map; pins are made, or reused, under `pinDir`. */
export function preparePins(
  object: BpfObject,
  pinDir: string,
  capacity: (name: string) => number | undefined,
): void {
  for (const map of maps(object)) {
    const name = lib().mapName(map) as string;
    const entries = capacity(name);
    if (entries !== undefined) check(lib().setMaxEntries(map, entries), `set the capacity of map ${name}`);
    check(lib().setPinPath(map, `${pinDir}/${name}`), `set the pin of map ${name}`);
  }
}

function* maps(object: BpfObject): Generator<BpfMap> {
  for (let map = lib().nextMap(object, null); map; map = lib().nextMap(object, map)) yield map as BpfMap;
}

/** What a map was, or is to be, made with. */
export interface MapAttributes {
  /** `bpf_map_type`. */
  type: number;
  keySize: number;
  valueSize: number;
  maxEntries: number;
  flags: number;
}

/** The maps that an object declares, by name. */
export function declaredMaps(object: BpfObject): Map<string, MapAttributes> {
  const { mapName, mapType, mapKeySize, mapValueSize, mapMaxEntries, mapFlags } = lib();
  return new Map(
    [...maps(object)].map((map) => [
      mapName(map) as string,
      {
        type: mapType(map) as number,
        keySize: mapKeySize(map) as number,
        valueSize: mapValueSize(map) as number,
        maxEntries: mapMaxEntries(map) as number,
        flags: mapFlags(map) as number,
      },
    ]),
  );
}

/** The descriptor of a loaded map; it belongs to the object. */
export function mapFd(object: BpfObject, name: string): number {
  return check(
    lib().mapFd(checkPointer(lib().findMap(object, name), `find map ${name}`)),
    `find map ${name}`,
  );
}

/** The descriptor of a loaded program; it belongs to the object. */
export function programFd(object: BpfObject, name: string): number {
  const program = checkPointer<BpfProgram>(lib().findProgram(object, name), `find program ${name}`);
  return check(lib().programFd(program), `find program ${name}`);
}

/** Adds or replaces; `flags` as in the kernel (0 any, 1 only new, 2 only existing). */
export function updateElement(fd: number, key: Uint8Array, value: Uint8Array, flags = 0): void {
  check(lib().update(fd, key, value, flags), "write a map entry");
}

/**
 * Adds or replaces entries in their order; `keys` and `values` are laid end to end. Most take one system call together (BPF_MAP_UPDATE_BATCH: hash
 * maps since Linux 5.6, maps of maps since 5.19, where after each call the kernel waits 10 ms and more until no program can have what was there before).
 * Throws `EntryError`.
 */
export function updateElements(fd: number, keys: Uint8Array, values: Uint8Array, count: number): void {
  const [keyAt, valueAt] = [partOf(keys, count), partOf(values, count)];
  const { updateBatch } = lib();
  inBatches(
    count,
    (from, left) => updateBatch(fd, keyAt(from, count), valueAt(from, count), left, null) as number,
    (index) => updateElement(fd, keyAt(index), valueAt(index)),
  );
}

/** Deletes entries in the same way; one that is not there is no error. */
export function deleteElements(fd: number, keys: Uint8Array, count: number): void {
  const keyAt = partOf(keys, count);
  const { deleteBatch } = lib();
  inBatches(
    count,
    (from, left) => deleteBatch(fd, keyAt(from, count), left, null) as number,
    (index) => deleteElement(fd, keyAt(index)),
  );
}

/** Of `count` things laid end to end, those from `from` up to, but not including, `to`; one thing unless given. */
function partOf(bytes: Uint8Array, count: number): (from: number, to?: number) => Uint8Array {
  const size = bytes.length / count;
  return (from, to = from + 1) => bytes.subarray(from * size, to * size);
}

/**
 * Does something with each of `count` entries in their order. `batch` does it from an index on and sets `left[0]` to how many it did before one could not
 * be done. That one `single` does: what is in the way may be gone (memory for many entries at once), be no error, or have to be said.
 */
function inBatches(
  count: number,
  batch: (from: number, left: [number]) => number,
  single: (index: number) => void,
): void {
  let canBatch = true;
  for (let index = 0; index < count; index++) {
    if (canBatch) {
      const left: [number] = [count - index];
      const result = batch(index, left);
      // Before the first entry it is looked at whether it can be done at all; then the number is as it was.
      canBatch = result !== -ENOTSUPP;
      if (result >= 0) return;
      if (left[0] < count - index) index += left[0];
    }
    try {
      single(index);
    } catch (error) {
      throw new EntryError(error as DatapathError, index);
    }
  }
}

/** Fills `value`; false where there is no such key. */
export function lookupElement(fd: number, key: Uint8Array, value: Uint8Array): boolean {
  return check(lib().lookup(fd, key, value), "read a map entry", ENOENT) === 0;
}

/** False where there is no such key. */
export function deleteElement(fd: number, key: Uint8Array): boolean {
  return check(lib().delete(fd, key), "delete a map entry", ENOENT) === 0;
}

/** Some entries of a hash map, as views of buffers of their own. */
export interface Batch {
  entries: Array<[key: Uint8Array, value: Uint8Array]>;
  /** The bucket where the next batch begins; undefined: there is none. */
  next: number | undefined;
}

/**
 * The entries of a hash map from a bucket on (BPF_MAP_LOOKUP_BATCH, Linux 5.6), whole buckets and `room` entries at most; undefined where
 * the first bucket holds more than that. Going by buckets, entries that come and go cannot make it start over, and one that stays is
 * seen once.
 */
export function nextBatch(
  fd: number,
  bucket: number,
  keySize: number,
  valueSize: number,
  room: number,
): Batch | undefined {
  const keys = new Uint8Array(room * keySize);
  const values = new Uint8Array(room * valueSize);
  const start = Uint32Array.of(bucket);
  const next = new Uint32Array(1);
  const count: [number] = [room];
  const result = lib().lookupBatch(fd, start, next, keys, values, count, null) as number;
  if (result === -ENOSPC) return undefined;
  check(result, "list a map", ENOENT);
  const entries = Array.from({ length: count[0] }, (_, i): [Uint8Array, Uint8Array] => [
    keys.subarray(i * keySize, (i + 1) * keySize),
    values.subarray(i * valueSize, (i + 1) * valueSize),
  ]);
  return { entries, next: result < 0 ? undefined : next[0]! };
}

/** Every entry of a hash map. */
export function forEachElement(
  fd: number,
  keySize: number,
  valueSize: number,
  each: (key: Uint8Array, value: Uint8Array) => void,
): void {
  let room = 1024;
  for (let bucket: number | undefined = 0; bucket !== undefined; ) {
    const batch = nextBatch(fd, bucket, keySize, valueSize, room);
    if (batch === undefined) {
      room *= 2;
      continue;
    }
    for (const [key, value] of batch.entries) each(key, value);
    bucket = batch.next;
  }
}

/** Makes a map; the descriptor is the caller's. */
export function createMap(name: string, attributes: MapAttributes): number {
  const { type, keySize, valueSize, maxEntries, flags } = attributes;
  const opts = {
    sz: koffi.sizeof(MapCreateOpts),
    btf_fd: 0,
    btf_key_type_id: 0,
    btf_value_type_id: 0,
    btf_vmlinux_value_type_id: 0,
    inner_map_fd: 0,
    map_flags: flags,
    map_extra: 0,
    numa_node: 0,
    map_ifindex: 0,
  };
  return check(lib().createMap(type, name, keySize, valueSize, maxEntries, opts), `make the map ${name}`);
}

/** Pins a descriptor. */
export function pinObject(fd: number, path: string): void {
  check(lib().pin(fd, path), `pin ${path}`);
}

/** The same; false where something is pinned there already. */
export function tryPinObject(fd: number, path: string): boolean {
  return check(lib().pin(fd, path), `pin ${path}`, EEXIST) === 0;
}

/** A descriptor of what is pinned at `path`, to be closed by the caller; undefined where nothing is. */
export function getPinned(path: string): number | undefined {
  const result = check(lib().get(path), `open the pin ${path}`, ENOENT);
  return result < 0 ? undefined : result;
}

/** Closes a descriptor that `getPinned` or `createLink` gave. */
export function closeFd(fd: number): void {
  closeSync(fd);
}

/** What a map was made with (struct bpf_map_info: type, id, key_size, value_size, max_entries, map_flags). */
export function mapAttributes(fd: number): MapAttributes {
  const [type, , keySize, valueSize, maxEntries, flags] = info(fd);
  return {
    type: type!,
    keySize: keySize!,
    valueSize: valueSize!,
    maxEntries: maxEntries!,
    flags: flags!,
  };
}

/** The kernel's number of a map, program or link. */
export function objectId(fd: number): number {
  return info(fd)[1]!;
}

/** The interface of a tcx link (struct bpf_link_info: type, id, prog_id, pad, tcx.ifindex); 0 when the interface is gone. */
export function linkIfindex(fd: number): number {
  return info(fd)[4]!;
}

/**
 * How many instructions the verifier went through to accept a program, all paths together; it takes 1,000,000 at most. Undefined
 * before Linux 5.16, which does not say (struct bpf_prog_info, verified_insns at byte 216).
 */
export function verifiedInstructions(program: number): number | undefined {
  return info(program)[54] || undefined;
}

/** The first 256 bytes of the kernel's `struct bpf_*_info`, as its 32-bit words. */
function info(fd: number): Uint32Array {
  const words = new Uint32Array(64);
  check(lib().info(fd, words, [words.byteLength]), "ask the kernel about an eBPF object");
  return words;
}

/** Which frames of an interface a program sees: those that come in by it, or those that leave by it. */
export type Direction = "ingress" | "egress";

/** A tcx link, to be pinned and closed; it ends with its last reference. */
export function createLink(program: number, ifindex: number, direction: Direction): number {
  return check(lib().linkCreate(program, ifindex, TCX[direction], null), `attach to interface ${ifindex}`);
}

/**
 * Whether the kernel has tcx (Linux 6.6). Asks to attach to an interface that cannot exist: a kernel with tcx looks for the
 * interface (ENODEV), one without does not know the attach type (EINVAL).
 */
export function supportsTcx(program: number): boolean {
  return lib().linkCreate(program, 0x7fffffff, TCX.ingress, null) === -ENODEV;
}

/** Swaps the program under a link, without a gap. */
export function updateLink(link: number, program: number): void {
  check(lib().linkUpdate(link, program, null), "renew an attached program");
}

/** Ends a link now, whoever else holds it. */
export function detachLink(link: number): void {
  check(lib().linkDetach(link), "detach a program", ENODEV, ENOENT, EINVAL);
}

/** Makes the clsact qdisc of an interface; false where there is one already. */
export function createQdisc(ifindex: number): boolean {
  const hook = tcHook(ifindex, CLSACT.ingress | CLSACT.egress);
  return check(lib().hookCreate(hook), `make the clsact qdisc of interface ${ifindex}`, EEXIST) === 0;
}

/** Removes the clsact qdisc with all filters on it. An interface that is gone is no error. */
export function destroyQdisc(ifindex: number): void {
  const hook = tcHook(ifindex, CLSACT.ingress | CLSACT.egress);
  check(lib().hookDestroy(hook), `remove the clsact qdisc of interface ${ifindex}`, ENOENT, ENODEV, EINVAL);
}

/** A clsact filter: on which side of the qdisc, and its handle there. */
export interface FilterPlace {
  ifindex: number;
  direction: Direction;
  handle: number;
}

/** Puts a filter on a clsact qdisc, or swaps the program of the one that is there. */
export function attachFilter(program: number, place: FilterPlace): void {
  check(replaceFilter(program, place), `attach a filter to interface ${place.ifindex}`);
}

/** The same where that can be done; false where the interface has no clsact qdisc, or is gone. */
export function renewFilter(program: number, place: FilterPlace): boolean {
  return replaceFilter(program, place) === 0;
}

function replaceFilter(program: number, { ifindex, direction, handle }: FilterPlace): number {
  const opts = { ...tcOpts(handle), prog_fd: program, flags: BPF_TC_F_REPLACE };
  return lib().tcAttach(tcHook(ifindex, CLSACT[direction]), opts);
}

/** Takes a filter away. A filter, qdisc or interface that is gone is no error. */
export function detachFilter({ ifindex, direction, handle }: FilterPlace): void {
  const result = lib().tcDetach(tcHook(ifindex, CLSACT[direction]), tcOpts(handle));
  check(result, `detach the filter from interface ${ifindex}`, ENOENT, ENODEV, EINVAL);
}

/** Whether there is such a filter. */
export function hasFilter({ ifindex, direction, handle }: FilterPlace): boolean {
  const result = lib().tcQuery(tcHook(ifindex, CLSACT[direction]), tcOpts(handle));
  return check(result, `look for the filter of interface ${ifindex}`, ENOENT, ENODEV, EINVAL) === 0;
}

function tcHook(ifindex: number, attachPoint: number) {
  return { sz: koffi.sizeof(TcHook), ifindex, attach_point: attachPoint, parent: 0 };
}

function tcOpts(handle: number) {
  return {
    sz: koffi.sizeof(TcOpts),
    prog_fd: 0,
    flags: 0,
    prog_id: 0,
    handle,
    priority: FILTER_PRIORITY,
  };
}

/** Fields of `struct __sk_buff` (linux/bpf.h) that BPF_PROG_TEST_RUN takes, and their offsets in it. */
const SK_BUFF = { ifindex: 40, cb: 48, size: 192 };

/** What the frame of a test run comes with; the fields as in `struct __sk_buff`. */
export interface TestRunContext {
  ifindex?: number;
  /** Words of `cb`. */
  cb?: number[];
}

/** Runs a program once on one frame (BPF_PROG_TEST_RUN); `verdict` is what it returned, `frame` what became of the frame. */
export function testRun(
  program: number,
  frame: Uint8Array,
  context: TestRunContext = {},
): { verdict: number; frame: Uint8Array } {
  const skBuff = new Uint8Array(SK_BUFF.size);
  const words = new Uint32Array(skBuff.buffer);
  words[SK_BUFF.ifindex / 4] = context.ifindex ?? 0;
  words.set(context.cb ?? [], SK_BUFF.cb / 4);
  const out = new Uint8Array(frame.length + 1024);
  const opts = {
    sz: koffi.sizeof(TestRunOpts),
    data_in: frame,
    data_out: out,
    data_size_in: frame.length,
    data_size_out: out.length,
    ctx_in: skBuff,
    ctx_out: null,
    ctx_size_in: skBuff.length,
    ctx_size_out: 0,
    retval: 0,
    repeat: 1,
    duration: 0,
    flags: 0,
    cpu: 0,
    batch_size: 0,
  };
  check(lib().testRun(program, opts), "run a program on a frame");
  return { verdict: opts.retval | 0, frame: out.subarray(0, opts.data_size_out) };
}

/** A ring buffer being read. */
export interface RingReader {
  /** Becomes readable when there is something; belongs to the reader. */
  fd: number;
  /** Hands over all that is there; returns how many. */
  consume(): number;
  close(): void;
}

/** Reads the ring buffer map `fd`; `sample` gets a copy of each record. */
export function readRing(fd: number, sample: (record: Uint8Array) => void): RingReader {
  const callback = koffi.register((_: unknown, data: unknown, size: number | bigint) => {
    sample(Uint8Array.from(koffi.decode(data, koffi.array("uint8_t", Number(size), "Typed")) as Uint8Array));
    return 0;
  }, koffi.pointer(SampleCallback));
  const ring = checkPointer(lib().ringNew(fd, callback, null, null), "read the ring buffer of events");
  return {
    fd: check(lib().ringFd(ring), "wait for events"),
    consume: () => check(lib().ringConsume(ring), "read the ring buffer of events"),
    close: () => {
      lib().ringFree(ring);
      koffi.unregister(callback);
    },
  };
}

/** The raw BTF of a compiled object, copied. */
export function readBtf(path: string): Uint8Array {
  const btf = checkPointer(lib().btfParse(path, null), `read the BTF of ${path}`);
  try {
    const size: [number] = [0];
    const raw = checkPointer(lib().btfRaw(btf, size), `read the BTF of ${path}`);
    return Uint8Array.from(koffi.decode(raw, koffi.array("uint8_t", size[0], "Typed")) as Uint8Array);
  } finally {
    lib().btfFree(btf);
  }
}
