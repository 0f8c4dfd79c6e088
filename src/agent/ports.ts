import { join } from "node:path";
import type { Logger } from "pino";
import type { InterfaceRule } from "../config/schema.ts";
import { messageOf } from "./errors.ts";
import type { Registration, Registrations } from "./interfaces.ts";
import { openJsonFolder } from "./json-folder.ts";
import { PORT_TYPE, type Port, PortError, parsePort, registrationOf } from "./port.ts";

/** The ports of OpenSDN's port API: each in a file of its own, read again at the next start, and each the registration of its interface. */
export interface AgentPorts {
  port(id: string): Port | undefined;
  /**
   * Adds ports or replaces them, all or none. An interface has one guest: a port whose interface another one had takes its place. Throws
   * `PortError`; then nothing has changed.
   */
  put(ports: readonly Port[]): void;
  /** One that is not there is no error. Throws `PortError` where its file cannot be removed. */
  remove(id: string): void;
  /** Down: the interface is no vif. Throws `PortError`. */
  setLinkState(id: string, linkState: Port["link-state"]): void;
  /** From now on ports are added anew: those that are not within `STALE_AFTER` are removed, except namespaces' ports. */
  sync(): void;
}

/** The ports with what the agent alone needs of them. */
export interface Ports extends AgentPorts, Registrations {
  /** The id of the port that an interface belongs to. */
  idOf(name: string): string | undefined;
  close(): void;
}

/** What `openPorts` works with. */
export interface PortsOptions {
  stateDir: string;
  /** Reads what is registered for an interface, or throws when it is not the port's to have. `isStored`: it was taken before. */
  readRule: (name: string, content: object, isStored: boolean) => InterfaceRule;
  /** The registration of this interface has come, changed or gone. */
  onChange: (name: string) => void;
  log: Logger;
}

/** How long after `sync` a port that was not added anew is removed, in ms: as OpenSDN's agent has it. */
export const STALE_AFTER = 60_000;

/** As many as the default pool has metadata addresses. */
export const MAX_PORTS = 16_384;

/** Where the ports are kept. */
export function portsDir(stateDir: string): string {
  return join(stateDir, "ports");
}

interface Entry {
  port: Port;
  registration: Registration | undefined;
  /** How often `sync` had been called when the port was added. */
  generation: number;
}

/** Opens the ports of a state directory. Files that cannot be understood are left out, and logged. */
export function openPorts({ stateDir, readRule, onChange, log }: PortsOptions): Ports {
  let generation = 0;
  let timer: NodeJS.Timeout | undefined;
  /** Ids of the ports, by the interfaces that they are registrations of. */
  const ids = new Map<string, string>();
  const { folder, contents: entries } = openJsonFolder(
    portsDir(stateDir),
    (id, content): Entry => {
      const port = parsePort(content);
      if (port.id !== id) throw new PortError(`it is the port ${port.id}`);
      const entry = entryOf(port, true);
      const name = entry.registration?.rule.name;
      if (name === undefined) return entry;
      if (ids.has(name)) throw new PortError(`${name} belongs to the port ${ids.get(name)}`);
      ids.set(name, id);
      return entry;
    },
    log,
  );

  function entryOf(port: Port, isStored: boolean): Entry {
    const found = registrationOf(port);
    if (found === undefined) return { port, registration: undefined, generation };
    const rule = readRule(found.name, found.content, isStored);
    return { port, registration: { rule, disabled: port["link-state"] === 0 }, generation };
  }

  function registrationOfName(name: string): Registration | undefined {
    const id = ids.get(name);
    return id === undefined ? undefined : entries.get(id)?.registration;
  }

  /** Writes the files of ports; where one cannot be written, the others are as they were. */
  function save(ports: readonly Port[]): void {
    const written: string[] = [];
    for (const port of ports) {
      try {
        folder.write(port.id, port);
        written.push(port.id);
      } catch (error) {
        for (const id of written) restore(id);
        throw new PortError(`Writing of Json string to file failed for ${port.id}: ${messageOf(error)}`);
      }
    }
  }

  function restore(id: string): void {
    const before = entries.get(id);
    try {
      if (before === undefined) folder.remove(id);
      else folder.write(id, before.port);
    } catch (error) {
      log.error({ port: id, reason: messageOf(error) }, "cannot restore the file of a port");
    }
  }

  /** Puts an entry in the place of what its port was, and of another port that had its interface. */
  function enter(entry: Entry): void {
    const { port, registration } = entry;
    const name = registration?.rule.name;
    const nameBefore = entries.get(port.id)?.registration?.rule.name;
    const other = name === undefined ? undefined : ids.get(name);
    if (other !== undefined && other !== port.id) {
      log.warn({ port: other, interface: name, by: port.id }, "port removed: another one has its interface");
      dropFile(other);
      entries.delete(other);
    }
    entries.set(port.id, entry);
    if (name !== undefined) ids.set(name, port.id);
    if (nameBefore !== undefined && nameBefore !== name) {
      ids.delete(nameBefore);
      onChange(nameBefore);
    }
    if (name !== undefined) onChange(name);
  }

  function forget(id: string): void {
    const name = entries.get(id)?.registration?.rule.name;
    entries.delete(id);
    if (name === undefined) return;
    ids.delete(name);
    onChange(name);
  }

  /** Throws nothing: a file that stays is a port again at the next start. */
  function dropFile(id: string): void {
    try {
      folder.remove(id);
    } catch (error) {
      log.error({ port: id, reason: messageOf(error) }, "cannot remove the file of a port");
    }
  }

  function removeStale(since: number): void {
    for (const [id, { port, generation: added }] of entries) {
      if (added >= since || port.type === PORT_TYPE.namespace) continue;
      log.info(
        { port: id, interface: port["system-name"] },
        "port removed: not added again since ports were synced",
      );
      dropFile(id);
      forget(id);
    }
    timer = undefined;
    if (since < generation) removeStaleLater();
  }

  function removeStaleLater(): void {
    timer ??= setTimeout(removeStale, STALE_AFTER, generation).unref();
  }

  return {
    get: registrationOfName,
    names: () => ids.keys(),
    idOf: (name) => ids.get(name),
    port: (id) => entries.get(id)?.port,

    put(ports) {
      const added = ports.filter(({ id }) => !entries.has(id));
      if (entries.size + added.length > MAX_PORTS)
        throw new PortError(`Too many ports, at most ${MAX_PORTS}`);
      const changed = ports.map((port) => entryOf(port, false));
      save(ports);
      for (const entry of changed) enter(entry);
    },

    remove(id) {
      try {
        folder.remove(id);
      } catch (error) {
        throw new PortError(`Error deleting file of port ${id}: ${messageOf(error)}`);
      }
      forget(id);
    },

    setLinkState(id, linkState) {
      const before = entries.get(id);
      if (before === undefined) throw new PortError(`Port Not found ${id}`);
      if (before.port["link-state"] === linkState) return;
      const port = { ...before.port, "link-state": linkState };
      const entry = { ...entryOf(port, true), generation: before.generation };
      save([port]);
      enter(entry);
    },

    sync() {
      generation += 1;
      removeStaleLater();
    },

    close: () => clearTimeout(timer),
  };
}
