import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type Port, PortError, parsePort } from "./port.ts";
import { MAX_PORTS, openPorts, type Ports, portsDir, STALE_AFTER } from "./ports.ts";
import { readStoredRegistration } from "./registered-interfaces.ts";

const idOf = (n: number) => `753a65ef-918a-4193-9266-${String(n).padStart(12, "0")}`;
const port = (n: number, changes: Partial<Port> = {}): Port =>
  parsePort({
    id: idOf(n),
    "instance-id": "63bd1a8a-ba6a-4547-af8d-653dd8ff397e",
    "ip-address": "10.0.1.3",
    "ip6-address": "",
    "vn-id": "38ced7ff-fdfc-4f17-9547-17ff4fb45da9",
    "display-name": "vm1",
    "vm-project-id": "",
    "mac-address": "02:75:3a:65:ef:91",
    "system-name": `tap${n}`,
    type: 0,
    "rx-vlan-id": -1,
    "tx-vlan-id": -1,
    ...changes,
  });

let stateDir: string;
let ports: Ports;
let changed: string[];
let lines: Array<{ reason?: string }>;
/** Names that are somebody else's. */
let taken: Set<string>;

function open(): void {
  ports?.close();
  ports = openPorts({
    stateDir,
    readRule: (name, content, isStored) => {
      if (taken.has(name) && !isStored) throw new Error(`${name} is taken`);
      return readStoredRegistration(name, content);
    },
    onChange: (name) => void changed.push(name),
    log: pino({ base: null }, { write: (line) => void lines.push(JSON.parse(line)) }),
  });
}
beforeEach(() => {
  stateDir = mkdtempSync(join(tmpdir(), "onlink-ports-"));
  changed = [];
  lines = [];
  taken = new Set();
  open();
});
afterEach(() => {
  vi.useRealTimers();
  ports.close();
  rmSync(stateDir, { recursive: true, force: true });
});
const files = () => readdirSync(portsDir(stateDir)).sort();

describe("ports", () => {
  it("are registrations of their interfaces, and survive a restart", () => {
    ports.put([port(1), port(2)]);
    expect(changed).toEqual(["tap1", "tap2"]);
    open();
    expect(ports.port(idOf(1))).toEqual(port(1));
    expect(ports.get("tap1")).toMatchObject({
      rule: { name: "tap1", addresses: ["10.0.1.3"] },
      disabled: false,
    });
    expect([...ports.names()].sort()).toEqual(["tap1", "tap2"]);
    expect(ports.idOf("tap2")).toBe(idOf(2));
    expect(statSync(join(portsDir(stateDir), `${idOf(1)}.json`)).mode & 0o777).toBe(0o600);

    changed = [];
    ports.remove(idOf(1));
    ports.remove(idOf(1));
    expect(changed).toEqual(["tap1"]);
    expect(ports.get("tap1")).toBeUndefined();
    expect(files()).toEqual([`${idOf(2)}.json`]);
  });

  it("are replaced in place, with another interface too", () => {
    ports.put([port(1)]);
    changed = [];
    ports.put([port(1, { "ip-address": "10.0.1.4" })]);
    expect(changed).toEqual(["tap1"]);
    expect(ports.get("tap1")).toMatchObject({ rule: { addresses: ["10.0.1.4"] } });
    ports.put([port(1, { "system-name": "tap9" })]);
    expect(changed).toEqual(["tap1", "tap1", "tap9"]);
    expect([...ports.names()]).toEqual(["tap9"]);
    expect(files()).toHaveLength(1);
  });

  it("take an interface over from a port that had it before", () => {
    ports.put([port(1)]);
    ports.put([port(2, { "system-name": "tap1" })]);
    expect(ports.port(idOf(1))).toBeUndefined();
    expect(ports.idOf("tap1")).toBe(idOf(2));
    expect(files()).toEqual([`${idOf(2)}.json`]);
    ports.remove(idOf(1));
    expect(ports.get("tap1")).toBeDefined();
  });

  it("are taken all or none", () => {
    ports.put([port(1)]);
    taken.add("tap3");
    changed = [];
    expect(() => ports.put([port(1, { "display-name": "x" }), port(2), port(3)])).toThrow("tap3 is taken");
    // No file can take the place of a folder.
    mkdirSync(join(portsDir(stateDir), `${idOf(5)}.json`));
    const added = [port(1, { "display-name": "x" }), port(4), port(5)];
    expect(() => ports.put(added)).toThrow(`Writing of Json string to file failed for ${idOf(5)}`);
    expect(changed).toEqual([]);
    expect(ports.port(idOf(1))).toEqual(port(1));
    expect(files()).toEqual([`${idOf(1)}.json`, `${idOf(5)}.json`]);
    open();
    expect(ports.port(idOf(1))).toEqual(port(1));
  });

  it("are down while they are disabled", () => {
    ports.put([port(1), port(2, { "link-state": 0 })]);
    changed = [];
    ports.setLinkState(idOf(1), 1);
    expect(changed).toEqual([]);
    ports.setLinkState(idOf(1), 0);
    ports.setLinkState(idOf(2), 1);
    expect(changed).toEqual(["tap1", "tap2"]);
    open();
    expect(ports.get("tap1")?.disabled).toBe(true);
    expect(ports.get("tap2")?.disabled).toBe(false);
    expect(() => ports.setLinkState(idOf(9), 1)).toThrow(new PortError(`Port Not found ${idOf(9)}`));
  });

  it("of other hosts are kept, and are nobody's registration", () => {
    const remote = port(1, { type: 2, "system-name": idOf(1), "link-state": 0 });
    ports.put([remote]);
    expect(ports.port(idOf(1))).toEqual(remote);
    expect([...ports.names()]).toEqual([]);
    ports.setLinkState(idOf(1), 1);
    expect(changed).toEqual([]);
  });

  it("are so many and no more", () => {
    const many = Array.from({ length: MAX_PORTS + 1 }, (_, n) => ({ ...port(1), id: idOf(n) }));
    expect(() => ports.put(many)).toThrow(`Too many ports, at most ${MAX_PORTS}`);
    expect(files()).toEqual([]);
  });

  it("whose files are damaged, or whose interface is another's, are left out and logged", () => {
    ports.put([port(1), port(2)]);
    writeFileSync(join(portsDir(stateDir), `${idOf(3)}.json`), JSON.stringify(port(4)));
    writeFileSync(join(portsDir(stateDir), `${idOf(5)}.json`), "{");
    writeFileSync(
      join(portsDir(stateDir), `${idOf(6)}.json`),
      JSON.stringify(port(6, { "system-name": "tap1" })),
    );
    open();
    expect([...ports.names()].sort()).toEqual(["tap1", "tap2"]);
    expect(lines.map(({ reason }) => reason).sort()).toEqual([
      `it is the port ${idOf(4)}`,
      "not JSON",
      expect.stringContaining("tap1 belongs to the port"),
    ]);
    expect(files()).toHaveLength(5);
  });
});

describe("after ports were synced", () => {
  beforeEach(() => void vi.useFakeTimers());

  it("those that are not added again are removed in time, except namespaces'", () => {
    ports.put([port(1), port(2), port(3, { type: 1 })]);
    ports.sync();
    ports.put([port(2)]);
    vi.advanceTimersByTime(STALE_AFTER - 1);
    expect(ports.port(idOf(1))).toBeDefined();
    vi.advanceTimersByTime(1);
    expect([...ports.names()].sort()).toEqual(["tap2", "tap3"]);
    expect(files()).toHaveLength(2);
    vi.advanceTimersByTime(10 * STALE_AFTER);
    expect(ports.port(idOf(2))).toBeDefined();
  });

  it("once more, each time counts", () => {
    ports.put([port(1), port(2)]);
    ports.sync();
    ports.put([port(1)]);
    vi.advanceTimersByTime(STALE_AFTER / 2);
    for (let n = 0; n < 100; n++) ports.sync();
    expect(vi.getTimerCount()).toBe(1);
    vi.advanceTimersByTime(STALE_AFTER / 2);
    expect([...ports.names()]).toEqual(["tap1"]);
    vi.advanceTimersByTime(STALE_AFTER);
    expect([...ports.names()]).toEqual([]);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("disabling a port is not adding it", () => {
    ports.put([port(1)]);
    ports.sync();
    ports.setLinkState(idOf(1), 0);
    vi.advanceTimersByTime(STALE_AFTER);
    expect(ports.port(idOf(1))).toBeUndefined();
  });
});
