/** Metrics for Prometheus, in its text format. All but the times of reconciling is read, and written, when it is asked for. */
import { Counter, collectDefaultMetrics, Histogram, Registry } from "prom-client";
import * as z from "zod";
import type { AgentOptions } from "../agent/agent.ts";
import {
  type AgentStatus,
  type BackendStatus,
  fabricSchema,
  interfaceStatusSchema,
} from "../agent/status.ts";
import type { GuestStats } from "../metadata/stats.ts";
import { ERRORS } from "./errors.ts";
import { metadataMetrics } from "./metadata-metrics.ts";
import { counter, gauge, type Sample } from "./metric-text.ts";
import type { ApiServer } from "./schemas.ts";
import type { ApiAgent } from "./server.ts";

/** Collects what is measured. Other parts of the agent may add metrics of their own to the registry. */
export interface Metrics {
  readonly registry: Registry;
  /** To be told by the agent. */
  readonly onReconcile: NonNullable<AgentOptions["onReconcile"]>;
  /** Everything in Prometheus' text format; series of single vifs only of those that are wanted. */
  text(agent: MeasuredAgent, vifs?: WantedVifs): Promise<string>;
}

/** What the metrics are read from. */
export type MeasuredAgent = Pick<ApiAgent, "status" | "events" | "lookups" | "metadata">;

/** Vifs by name, or all. */
export type WantedVifs = "all" | ReadonlySet<string>;

/** Least and most of the times that it takes to bring the datapath in step, in seconds, and some between. */
const RECONCILE_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];

/** Series of backends and of vifs are made for no more than these: a server of metrics has to keep each of them. */
export const MAX_BACKENDS = 5000;
export const MAX_VIFS = 500;

/** Time between two samples of the event loop's lag, in ms. */
const EVENT_LOOP_SAMPLES = 500;

/** The families that are written anew at each scrape. */
const write = {
  build: gauge(
    "onlink_build_info",
    "The agent's version, and how its programs hang on interfaces; always 1.",
  ),
  ready: gauge("onlink_ready", "1 while all that is configured is in step, as GET /v1/ready says."),
  loaded: gauge(
    "onlink_config_last_reload_successful",
    "1 while the configuration file is what the agent works by, 0 after it was refused.",
  ),
  loadedAt: gauge(
    "onlink_config_last_reload_success_timestamp_seconds",
    "When the configuration was last taken over, in seconds since 1970.",
  ),
  frames: counter(
    "onlink_frames_total",
    "Frames by the reason for the datapath's verdict, since the datapath was made.",
  ),
  bytes: counter("onlink_bytes_total", "The bytes of these frames, Ethernet headers included."),
  flows: gauge("onlink_flows", "Flows now."),
  flowLimit: gauge("onlink_flows_limit", "Limit of flows on the system."),
  flowLimitPerInterface: gauge("onlink_interface_flows_limit", "Limit of flows for each interface."),
  interfaces: gauge(
    "onlink_interfaces",
    "Interfaces that the configuration names or that fit its patterns, by state.",
  ),
  fabric: gauge("onlink_fabric_interfaces", "Interfaces that lead to fabric backends, by state."),
  services: gauge("onlink_services", "Services."),
  servicesWithoutBackend: gauge("onlink_services_without_backend", "Services that have no backend in use."),
  serviceBackends: gauge("onlink_service_backends", "Backends of a service, in use or not."),
  serviceBackendsInUse: gauge("onlink_service_backends_in_use", "Backends of a service that take new flows."),
  serviceFlows: counter(
    "onlink_service_flows_opened_total",
    "Flows that guests have opened to a service, since it is there.",
  ),
  serviceRefused: counter(
    "onlink_service_refused_total",
    "Frames that would have opened one, while no backend of the service was in use.",
  ),
  serviceFrames: counter(
    "onlink_service_frames_total",
    "Frames of these flows: out, from guests to backends, and in; up to two seconds late with more than 65,536 flows.",
  ),
  serviceBytes: counter(
    "onlink_service_bytes_total",
    "The bytes of these frames, Ethernet headers included.",
  ),
  backendUp: gauge("onlink_backend_up", "1 while new flows of the service go to the backend, else 0."),
  backendHealthy: gauge(
    "onlink_backend_healthy",
    "Backends that are checked: 1 while healthy, 0 after checks have failed.",
  ),
  lookups: counter(
    "onlink_name_lookups_total",
    "Look-ups of the names of backends, since the agent's start.",
  ),
  lookupFailures: counter(
    "onlink_name_lookup_failures_total",
    "Those of them that gave no address; addresses that were known stay in use.",
  ),
  events: counter(
    "onlink_events_total",
    "Events by kind, since the agent's start; those of flows are not counted.",
  ),
  eventsLost: counter(
    "onlink_events_lost_total",
    "Events that came too fast for the agent, since the datapath was made.",
  ),
  leftOut: gauge(
    "onlink_series_left_out",
    "Backends and interfaces without series of their own, since there are too many.",
  ),
  vifFlows: gauge("onlink_interface_flows", "Flows of the guest behind the interface now."),
  vifFrames: counter(
    "onlink_interface_frames_total",
    "Frames by the reason for the datapath's verdict, since the interface was attached.",
  ),
  vifBytes: counter("onlink_interface_bytes_total", "The bytes of these frames, Ethernet headers included."),
  vifAnswers: counter(
    "onlink_interface_metadata_answers_total",
    "Answers of the metadata service to the guest behind the interface, by status.",
  ),
};

/** See `Metrics`. */
export function createMetrics(): Metrics {
  const registry = new Registry();
  // The lag of the event loop is sampled: every 10 ms, unless told otherwise, would be most of what an agent at rest does.
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: EVENT_LOOP_SAMPLES });
  const reconcileTimes = new Histogram({
    name: "onlink_reconcile_duration_seconds",
    help: "How long it took to bring the datapath in step, by what gave rise to it.",
    labelNames: ["trigger"],
    buckets: RECONCILE_BUCKETS,
    registers: [registry],
  });
  const reconcileErrors = new Counter({
    name: "onlink_reconcile_errors_total",
    help: "Steps of bringing the datapath in step that failed; they are tried again.",
    registers: [registry],
  });

  return {
    registry,
    onReconcile(trigger, seconds, failures) {
      reconcileTimes.observe({ trigger }, seconds);
      reconcileErrors.inc(failures);
    },
    async text(agent, vifs = new Set()) {
      let counted = 0;
      let leftOut = 0;
      const status = agent.status({
        counted: (name) => {
          if (vifs !== "all" && !vifs.has(name)) return false;
          if (counted === MAX_VIFS) {
            leftOut += 1;
            return false;
          }
          counted += 1;
          return true;
        },
      });
      return [
        await registry.metrics(),
        ...familiesOf(agent, status, leftOut),
        ...(counted === 0 ? [] : vifFamilies(status.interfaces, agent.metadata().guests)),
      ].join("\n");
    },
  };
}

/** The numbers of a moment: the lines of each family. */
function familiesOf(agent: MeasuredAgent, status: AgentStatus, vifsLeftOut: number): string[] {
  const { configuration, counters, flows, services } = status;
  const backends = services.flatMap(({ name, backends }) =>
    backends.map((backend) => ({ service: name, backend })),
  );
  const shown = backends.slice(0, MAX_BACKENDS);
  const { done, failed } = agent.lookups();
  return [
    write.build([[{ version: status.version, attach: status.attach }, 1]]),
    write.ready([[{}, Number(status.problems.length === 0)]]),
    write.loaded([[{}, Number(configuration.errors === undefined)]]),
    write.loadedAt([[{}, Date.parse(configuration.loaded) / 1000]]),
    write.frames(Object.entries(counters).map(([reason, { frames }]) => [{ reason }, frames])),
    write.bytes(Object.entries(counters).map(([reason, { bytes }]) => [{ reason }, bytes])),
    write.flows([[{}, flows.now]]),
    write.flowLimit([[{}, flows.limit]]),
    write.flowLimitPerInterface([[{}, flows.limitPerInterface]]),
    write.interfaces(countByState(interfaceStatusSchema, status.interfaces)),
    write.fabric(countByState(fabricSchema, status.fabric)),
    write.services([[{}, services.length]]),
    write.servicesWithoutBackend([[{}, services.filter(({ backends }) => !backends.some(isUp)).length]]),
    write.serviceBackends(services.map(({ name, backends }) => [{ service: name }, backends.length])),
    write.serviceBackendsInUse(
      services.map(({ name, backends }) => [{ service: name }, backends.filter(isUp).length]),
    ),
    write.serviceFlows(services.map(({ name, traffic }) => [{ service: name }, traffic.flows])),
    write.serviceRefused(services.map(({ name, traffic }) => [{ service: name }, traffic.refused])),
    write.serviceFrames(
      services.flatMap(({ name, traffic }) => byDirection(name, traffic.framesOut, traffic.framesIn)),
    ),
    write.serviceBytes(
      services.flatMap(({ name, traffic }) => byDirection(name, traffic.bytesOut, traffic.bytesIn)),
    ),
    write.backendUp(
      shown.map(({ service, backend }) => [{ service, backend: placeOf(backend) }, Number(isUp(backend))]),
    ),
    write.backendHealthy(
      shown.flatMap(({ service, backend }) =>
        backend.health === undefined
          ? []
          : [[{ service, backend: placeOf(backend) }, Number(backend.health.state === "healthy")]],
      ),
    ),
    write.lookups([[{}, done]]),
    write.lookupFailures([[{}, failed]]),
    ...metadataMetrics(agent.metadata()),
    write.events([...agent.events.counts()].map(([kind, count]) => [{ kind }, count])),
    write.eventsLost([[{}, status.eventsLost]]),
    write.leftOut([
      [{ of: "backends" }, Math.max(0, backends.length - MAX_BACKENDS)],
      [{ of: "interfaces" }, vifsLeftOut],
    ]),
  ];
}

function byDirection(service: string, out: bigint, into: bigint): Sample[] {
  return [
    [{ service, direction: "out" }, out],
    [{ service, direction: "in" }, into],
  ];
}

/** Families with series of single vifs: of those whose counters were read. */
function vifFamilies(interfaces: AgentStatus["interfaces"], guests: readonly GuestStats[]): string[] {
  const counted = interfaces.flatMap((one) =>
    Object.entries(one.counters ?? {}).map(
      ([reason, counter]) => [{ interface: one.name, reason }, counter] as const,
    ),
  );
  const asked = new Set(interfaces.flatMap(({ name, counters }) => (counters === undefined ? [] : [name])));
  return [
    write.vifFlows(
      interfaces.flatMap((one) => (one.flows === undefined ? [] : [[{ interface: one.name }, one.flows]])),
    ),
    write.vifFrames(counted.map(([labels, { frames }]) => [labels, frames])),
    write.vifBytes(counted.map(([labels, { bytes }]) => [labels, bytes])),
    write.vifAnswers(
      guests
        .filter((guest) => asked.has(guest.interface))
        .flatMap((guest) =>
          guest.answers.map(
            ({ status, count }) => [{ interface: guest.interface, status: String(status) }, count] as const,
          ),
        ),
    ),
  ];
}

/** A sample for each state that there is, also where nothing is in it. */
function countByState<State extends string>(
  { options }: { options: ReadonlyArray<{ shape: { state: { value: State } } }> },
  items: ReadonlyArray<{ state: State }>,
): Sample[] {
  return options.map(({ shape: { state } }) => [
    { state: state.value },
    items.filter((item) => item.state === state.value).length,
  ]);
}

/** Address and port; the name as long as it leads nowhere. */
function placeOf({ name, address, port }: BackendStatus): string {
  return `${address ?? name}:${port}`;
}

function isUp({ state }: BackendStatus): boolean {
  return state === "in use";
}

/** `GET /metrics`. */
export function registerMetrics(server: ApiServer, agent: MeasuredAgent, metrics: Metrics): void {
  server.get(
    "/metrics",
    {
      schema: {
        summary: "Metrics in Prometheus' text format",
        querystring: z.strictObject({
          interfaces: z
            .string()
            .min(1)
            .optional()
            .describe(
              `With series of single vifs: their names with commas between them, or all; of ${MAX_VIFS} at most.`,
            ),
        }),
        response: {
          200: { description: "Metrics.", content: { "text/plain": { schema: z.string() } } },
          ...ERRORS,
        },
      },
    },
    async ({ query: { interfaces } }, reply) => {
      const vifs = interfaces === "all" ? interfaces : new Set(interfaces?.split(","));
      return reply.type(metrics.registry.contentType).send(await metrics.text(agent, vifs));
    },
  );
}
