import type { AttachKind, Counters, Protocol } from "../datapath/types.ts";
import type { InterfaceState } from "./interfaces.ts";
import type { FabricState, ResolvedService } from "./services.ts";

/** What an agent and its datapath are doing now. */
export interface AgentStatus {
  /** The agent's version, process id and when it was ready (ISO 8601). */
  version: string;
  pid: number;
  since: string;
  configuration: ConfigurationStatus;
  /** How the datapath's programs hang on interfaces. */
  attach: AttachKind;
  device: { name: string; address: string };
  services: ServiceStatus[];
  interfaces: InterfaceStatus[];
  /** The interfaces that lead to fabric backends. */
  fabric: FabricState[];
  /** Flows on the system now, and the limits on the system and per vif. */
  flows: { now: number; limit: number; limitPerInterface: number };
  /** Since the datapath was made, over agent restarts. */
  counters: Counters;
  /** Events that came too fast for the agent; since the datapath was made. */
  eventsLost: bigint;
}

/** Where the configuration comes from, and whether the agent works by what the file says now. */
export interface ConfigurationStatus {
  file: string;
  /** When it was last taken over (ISO 8601). */
  loaded: string;
  /** What is wrong with the file since; the configuration before it holds. */
  errors?: string[];
}

/** A service, with the state of its backends. */
export interface ServiceStatus {
  name: string;
  address: string;
  port: number;
  protocols: Protocol[];
  backends: BackendStatus[];
}

/** A backend: guests are sent to it, or the reason why not. */
export type BackendStatus =
  | {
      address: string;
      port: number;
      state: "in use";
      kind: "host-local" | "fabric";
      /** Fabric: the interface that leads to it, and the address that the backend sees. */
      interface?: string;
      source?: string;
    }
  | { address: string; port: number; state: "out of use"; reason: string };

/** An interface; flows and counters (since it was attached) where it is a vif. */
export type InterfaceStatus = InterfaceState & { flows?: number; counters?: Counters };

/** The status of one service. */
export function serviceStatus({ service, backends }: ResolvedService): ServiceStatus {
  return {
    name: service.name,
    address: service.address,
    port: service.port,
    protocols: service.protocol,
    backends: backends.map(({ address, port, resolved }): BackendStatus => {
      if (!resolved.inUse) return { address, port, state: "out of use", reason: resolved.reason };
      const { entry } = resolved;
      if (entry.kind === "host-local") return { address, port, state: "in use", kind: entry.kind };
      return {
        address,
        port,
        state: "in use",
        kind: entry.kind,
        source: entry.source,
        ...(resolved.interface === undefined ? {} : { interface: resolved.interface }),
      };
    }),
  };
}
