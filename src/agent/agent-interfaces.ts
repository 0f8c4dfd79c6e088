import type { Config, InterfaceRule } from "../config/schema.ts";
import type { Datapath } from "../datapath/types.ts";
import type { GuestIdentity } from "./guest-identity.ts";
import type { InterfaceState, Interfaces } from "./interfaces.ts";
import { type RegisteredInterfaces, readRegistration, removeRegistration } from "./registered-interfaces.ts";
import type { InterfaceStatus } from "./status.ts";

/** The interfaces of an agent, and those that are registered while it runs. */
export interface AgentInterfaces {
  /** Flows and counters are read of those vifs alone of which `counted` says so; without it, of all. */
  list(counted?: (vif: string) => boolean): InterfaceStatus[];
  /** Undefined where neither the configuration nor a registration has anything for this name. */
  get(name: string): InterfaceStatus | undefined;
  /** What was registered for this name. */
  registration(name: string): InterfaceRule | undefined;
  /**
   * Registers an interface, or replaces its registration. Throws `RegistrationError`, and whatever keeps it from being saved; then nothing has
   * changed.
   */
  register(name: string, content: unknown): void;
  /** Takes a registration back. Throws `RegistrationError`. */
  unregister(name: string): void;
  /** Who is behind the vif that has this metadata address; undefined when none has. */
  guestOf(metadataAddress: string): GuestIdentity | undefined;
}

/** See `AgentInterfaces`. `config` gives the configuration of the moment. */
export function createAgentInterfaces({
  interfaces,
  registrations,
  datapath,
  config,
  configFile,
}: {
  interfaces: Interfaces;
  registrations: RegisteredInterfaces;
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
    registration: (name) => registrations.get(name)?.rule,
    register(name, content) {
      registrations.put(readRegistration(name, content, config(), configFile));
      interfaces.registrationChanged(name);
    },
    unregister(name) {
      removeRegistration(name, registrations, config(), configFile);
      interfaces.registrationChanged(name);
    },
    guestOf: interfaces.guestOf,
  };
}
