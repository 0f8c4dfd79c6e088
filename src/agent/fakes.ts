/** The datapath and the host's network in memory, for the tests of this folder. */
import { DatapathError, EntryError } from "../datapath/errors.ts";
import type { Attachment, Datapath, DatapathMap, ProgramName, Vif } from "../datapath/types.ts";
import type { Link, Route } from "../linux/rtnetlink.ts";
import { messageOf } from "./errors.ts";

/** A datapath that remembers every write, in order, in words such as `"set vif 5 169.254.64.2"`. */
export interface FakeDatapath {
  datapath: Datapath;
  writes: string[];
  vifs: Map<number, Vif>;
  attached: Attachment[];
  /** ifindexes of the interfaces through which flows go. */
  flowsThrough: number[];
  /** Interfaces on which `attach` fails, with the message. */
  broken: Map<number, string>;
  /** The writes since the last call. */
  takeWrites(): string[];
}

/** See `FakeDatapath`. What the agent does not use is not there. */
export function fakeDatapath(): FakeDatapath {
  const writes: string[] = [];
  const vifs = new Map<number, Vif>();
  const broken = new Map<number, string>();
  const fake: FakeDatapath = {
    writes,
    vifs,
    attached: [],
    flowsThrough: [],
    broken,
    takeWrites: () => writes.splice(0),
    datapath: {
      serviceAddresses: fakeMap("address", writes),
      services: fakeMap("service", writes),
      backends: fakeMap("backend", writes),
      vifs: () => new Map(vifs),
      setVif(ifindex, vif) {
        writes.push(`set vif ${ifindex} ${vif.metadataAddress}`);
        vifs.set(ifindex, vif);
      },
      removeVif(ifindex) {
        writes.push(`remove vif ${ifindex}`);
        vifs.delete(ifindex);
      },
      hasFlows: ({ ifindex }) => ifindex !== undefined && fake.flowsThrough.includes(ifindex),
      endFlows(filters) {
        const texts = filters.map(({ service, address, backend }) => {
          if (address !== undefined) return `to address ${address}`;
          return `of service ${service}${backend ? ` to ${backend.address}:${backend.port}` : ""}`;
        });
        if (texts.length > 0) writes.push(`end flows ${texts.join(", ")}`);
        return filters.map(() => 0);
      },
      attach(program: ProgramName, ifindex: number) {
        const failure = broken.get(ifindex);
        if (failure !== undefined) throw new Error(failure);
        writes.push(`attach ${program} ${ifindex}`);
        if (!isAttached(program, ifindex)) fake.attached.push({ program, ifindex, how: "tcx" });
      },
      detach(program: ProgramName, ifindex: number) {
        writes.push(`detach ${program} ${ifindex}`);
        fake.attached = fake.attached.filter((one) => one.program !== program || one.ifindex !== ifindex);
      },
      attachments: () => fake.attached,
    } as Partial<Datapath> as Datapath,
  };
  function isAttached(program: ProgramName, ifindex: number): boolean {
    return fake.attached.some((one) => one.program === program && one.ifindex === ifindex);
  }
  return fake;
}

/** JSON has no bigint. */
function inText(_: string, value: unknown): unknown {
  return typeof value === "bigint" ? value.toString() : value;
}

function fakeMap<K, V>(name: string, writes: string[]): DatapathMap<K, V> {
  const entries = new Map<string, [K, V]>();
  const map: DatapathMap<K, V> = {
    get: (key) => entries.get(JSON.stringify(key))?.[1],
    set(key, value) {
      writes.push(`set ${name} ${JSON.stringify(key)} ${JSON.stringify(value, inText)}`);
      entries.set(JSON.stringify(key), [key, value]);
    },
    setAll: (some) => each(some, ([key, value]) => map.set(key, value)),
    delete(key) {
      writes.push(`delete ${name} ${JSON.stringify(key)}`);
      return entries.delete(JSON.stringify(key));
    },
    deleteAll: (keys) => each(keys, map.delete),
    entries: () => [...entries.values()],
  };
  return map;
}

/** Does something with each in turn; `EntryError` where that throws. */
function each<T>(some: readonly T[], write: (one: T) => unknown): void {
  for (const [index, one] of some.entries()) {
    try {
      write(one);
    } catch (error) {
      throw new EntryError(new DatapathError(messageOf(error)), index);
    }
  }
}

/** An Ethernet interface that is up; anything else by `changes`. */
export function fakeLink(ifindex: number, name: string, changes: Partial<Link> = {}): Link {
  return {
    ifindex,
    name,
    up: true,
    mac: "02:00:00:00:00:01",
    mtu: 1500,
    type: "veth",
    hardware: 1,
    master: undefined,
    alias: undefined,
    peer: undefined,
    ...changes,
  };
}

/** Routes by destination, and links. */
export function fakeNetwork(links: readonly Link[], routes: Record<string, Partial<Route>>) {
  const network = {
    link: (which: string | number) => links.find(({ ifindex, name }) => which === ifindex || which === name),
    routeTo(address: string): Route | undefined {
      const route = routes[address];
      return route && { type: "unicast", ifindex: 0, source: "192.0.2.10", gateway: undefined, ...route };
    },
    routesTo: (addresses: Iterable<string>) =>
      new Map([...addresses].map((address) => [address, network.routeTo(address)])),
  };
  return network;
}
