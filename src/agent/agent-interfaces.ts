import type { Config, InterfaceRule } from "../config/schema.ts";
import type { Datapath } from "../datapath/types.ts";
import type { GuestIdentity } from "./guest-identity.ts";
import type { InterfaceState, Interfaces } from "./interfaces.ts";
import type { Ports } from "./ports.ts";
import {
  type RegisteredInterfaces,
  readRegistration,
  registeredAlready,
  removeRegistration,
} from "./registered-interfaces.ts";
import type { InterfaceStatus } from "./status.ts";

/** The interfaces of an agent, and those that are registered while it runs. Their counters are as those of `Agent.services`. */
export interface AgentInterfaces {
  /** Flows and counters are read of those vifs alone of which `counted` says so; without it, of all. */
  list(counted?: (vif: string) => boolean): InterfaceStatus[];
  /** Undefined where neither the configuration nor a registration has anything for this name. */
  get(name: string): InterfaceStatus | undefined;
  /** What was registered for this name, by itself or by a port. */
  registration(name: string): InterfaceRule | undefined;
  /**
   * Registers an interface, or replaces its registration. Throws `RegistrationError`, and whatever keeps it from being saved; then nothing has
   * changed.
   */
  register(name: string, content: unknown): void;
  /** Takes a registration back; of an interface that a port is registered for, the port. Throws `RegistrationError`. */
  unregister(name: string): void;
  /** Who is behind the vif that has this metadata address; undefined when none has. */
  guestOf(metadataAddress: string): GuestIdentity | undefined;
}

/** See `AgentInterfaces`. `config` gives the configuration of the moment. */
export function createAgentInterfaces({
  interfaces,
  registered,
  ports,
  datapath,
  config,
  configFile,
}: {
  interfaces: Interfaces;
  registered: RegisteredInterfaces;
  ports: Ports;
  datapath: Pick<Datapath, "vifCounters" | "flowCount">;
  config: () => Config;
  configFile: string;
}): AgentInterfaces {
  function statusOf(state: InterfaceState): InterfaceStatus {
    if (state.state !== "attached") return state;
    const counters = datapath.vifCounters(state.ifindex);
    return { ...state, flows: datapath.flowCount(state.ifindex), ...(counters && { counters }) };
  }
  return {
    list: (counted = () => true) =>
      interfaces.list().map((state) => (counted(state.name) ? statusOf(state) : state)),
    get(name) {
      const state = interfaces.stateOf(name);
      return state && statusOf(state);
    },
    registration: (name) => (registered.get(name) ?? ports.get(name))?.rule,
    register(name, content) {
      if (ports.idOf(name) !== undefined) throw registeredAlready(name);
      registered.put(readRegistration(name, content, config(), configFile));
      interfaces.registrationChanged(name);
    },
    unregister(name) {
      const port = ports.idOf(name);
      if (port !== undefined) ports.remove(port);
      else removeRegistration(name, registered, config(), configFile);
      interfaces.registrationChanged(name);
    },
    guestOf: interfaces.guestOf,
  };
}
