/** Metrics for Prometheus, in its text format. All but the times of reconciling is read when it is asked for. */
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
import { metricsOf, type Sample } from "./metric-set.ts";
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

/** See `Metrics`. */
export function createMetrics(): Metrics {
  const registry = new Registry();
  // The lag of the event loop is sampled: every 10 ms, unless told otherwise, would be most of what an agent at rest does.
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: EVENT_LOOP_SAMPLES });
  const add = metricsOf(registry);
  const set = {
    build: add.gauge(
      "onlink_build_info",
      "The agent's version, and how its programs hang on interfaces; always 1.",
      ["version", "attach"],
    ),
    ready: add.gauge("onlink_ready", "1 while all that is configured is in step, as GET /v1/ready says."),
    loaded: add.gauge(
      "onlink_config_last_reload_successful",
      "1 while the configuration file is what the agent works by, 0 after it was refused.",
    ),
    loadedAt: add.gauge(
      "onlink_config_last_reload_success_timestamp_seconds",
      "When the configuration was last taken over, in seconds since 1970.",
    ),
    frames: add.counter(
      "onlink_frames_total",
      "Frames by the reason for the datapath's verdict, since the datapath was made.",
      ["reason"],
    ),
    bytes: add.counter("onlink_bytes_total", "The bytes of these frames, Ethernet headers included.", [
      "reason",
    ]),
    flows: add.gauge("onlink_flows", "Flows now."),
    flowLimit: add.gauge("onlink_flows_limit", "Limit of flows on the system."),
    flowLimitPerInterface: add.gauge("onlink_interface_flows_limit", "Limit of flows for each interface."),
    interfaces: add.gauge(
      "onlink_interfaces",
      "Interfaces that the configuration names or that fit its patterns, by state.",
      ["state"],
    ),
    fabric: add.gauge("onlink_fabric_interfaces", "Interfaces that lead to fabric backends, by state.", [
      "state",
    ]),
    services: add.gauge("onlink_services", "Services."),
    servicesWithoutBackend: add.gauge(
      "onlink_services_without_backend",
      "Services that have no backend in use.",
    ),
    serviceBackends: add.gauge("onlink_service_backends", "Backends of a service, in use or not.", [
      "service",
    ]),
    serviceBackendsInUse: add.gauge(
      "onlink_service_backends_in_use",
      "Backends of a service that take new flows.",
      ["service"],
    ),
    serviceFlows: add.counter(
      "onlink_service_flows_opened_total",
      "Flows that guests have opened to a service, since it is there.",
      ["service"],
    ),
    serviceRefused: add.counter(
      "onlink_service_refused_total",
      "Frames that would have opened one, while no backend of the service was in use.",
      ["service"],
    ),
    serviceFrames: add.counter(
      "onlink_service_frames_total",
      "Frames of these flows: out, from guests to backends, and in. Counted some seconds late.",
      ["service", "direction"],
    ),
    serviceBytes: add.counter(
      "onlink_service_bytes_total",
      "The bytes of these frames, Ethernet headers included.",
      ["service", "direction"],
    ),
    backendUp: add.gauge("onlink_backend_up", "1 while new flows of the service go to the backend, else 0.", [
      "service",
      "backend",
    ]),
    backendHealthy: add.gauge(
      "onlink_backend_healthy",
      "Backends that are checked: 1 while healthy, 0 after checks have failed.",
      ["service", "backend"],
    ),
    lookups: add.counter(
      "onlink_name_lookups_total",
      "Look-ups of the names of backends, since the agent's start.",
    ),
    lookupFailures: add.counter(
      "onlink_name_lookup_failures_total",
      "Those of them that gave no address; addresses that were known stay in use.",
    ),
    events: add.counter(
      "onlink_events_total",
      "Events by kind, since the agent's start; those of flows are not counted.",
      ["kind"],
    ),
    eventsLost: add.counter(
      "onlink_events_lost_total",
      "Events that came too fast for the agent, since the datapath was made.",
    ),
    leftOut: add.gauge(
      "onlink_series_left_out",
      "Backends and interfaces without series of their own, since there are too many.",
      ["of"],
    ),
  };
  const setMetadata = metadataMetrics(registry);
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

  /** The numbers of a moment. */
  function read(agent: MeasuredAgent, status: AgentStatus, vifsLeftOut: number): void {
    const { configuration, counters, flows, services } = status;
    const backends = services.flatMap(({ name, backends }) =>
      backends.map((backend) => ({ service: name, backend })),
    );
    set.build([[{ version: status.version, attach: status.attach }, 1]]);
    set.ready([[{}, Number(status.problems.length === 0)]]);
    set.loaded([[{}, Number(configuration.errors === undefined)]]);
    set.loadedAt([[{}, Date.parse(configuration.loaded) / 1000]]);
    set.frames(Object.entries(counters).map(([reason, { frames }]) => [{ reason }, frames]));
    set.bytes(Object.entries(counters).map(([reason, { bytes }]) => [{ reason }, bytes]));
    set.flows([[{}, flows.now]]);
    set.flowLimit([[{}, flows.limit]]);
    set.flowLimitPerInterface([[{}, flows.limitPerInterface]]);
    set.interfaces(countByState(interfaceStatusSchema, status.interfaces));
    set.fabric(countByState(fabricSchema, status.fabric));
    set.services([[{}, services.length]]);
    set.servicesWithoutBackend([[{}, services.filter(({ backends }) => !backends.some(isUp)).length]]);
    set.serviceBackends(services.map(({ name, backends }) => [{ service: name }, backends.length]));
    set.serviceBackendsInUse(
      services.map(({ name, backends }) => [{ service: name }, backends.filter(isUp).length]),
    );
    set.serviceFlows(services.map(({ name, traffic }) => [{ service: name }, traffic.flows]));
    set.serviceRefused(services.map(({ name, traffic }) => [{ service: name }, traffic.refused]));
    set.serviceFrames(
      services.flatMap(({ name, traffic }) => byDirection(name, traffic.framesOut, traffic.framesIn)),
    );
    set.serviceBytes(
      services.flatMap(({ name, traffic }) => byDirection(name, traffic.bytesOut, traffic.bytesIn)),
    );
    const shown = backends.slice(0, MAX_BACKENDS);
    set.backendUp(
      shown.map(({ service, backend }) => [{ service, backend: placeOf(backend) }, Number(isUp(backend))]),
    );
    set.backendHealthy(
      shown.flatMap(({ service, backend }) =>
        backend.health === undefined
          ? []
          : [[{ service, backend: placeOf(backend) }, Number(backend.health.state === "healthy")]],
      ),
    );
    const { done, failed } = agent.lookups();
    set.lookups([[{}, done]]);
    set.lookupFailures([[{}, failed]]);
    setMetadata(agent.metadata());
    set.events([...agent.events.counts()].map(([kind, count]) => [{ kind }, count]));
    set.eventsLost([[{}, status.eventsLost]]);
    set.leftOut([
      [{ of: "backends" }, Math.max(0, backends.length - MAX_BACKENDS)],
      [{ of: "interfaces" }, vifsLeftOut],
    ]);
  }

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
      read(agent, status, leftOut);
      const text = await registry.metrics();
      return counted === 0
        ? text
        : `${text}\n${await vifMetrics(status.interfaces, agent.metadata().guests)}`;
    },
  };
}

function byDirection(service: string, out: bigint, into: bigint): Sample[] {
  return [
    [{ service, direction: "out" }, out],
    [{ service, direction: "in" }, into],
  ];
}

/** Series of single vifs: of those whose counters were read. */
async function vifMetrics(
  interfaces: AgentStatus["interfaces"],
  guests: readonly GuestStats[],
): Promise<string> {
  const registry = new Registry();
  const add = metricsOf(registry);
  const flows = add.gauge("onlink_interface_flows", "Flows of the guest behind the interface now.", [
    "interface",
  ]);
  const frames = add.counter(
    "onlink_interface_frames_total",
    "Frames by the reason for the datapath's verdict, since the interface was attached.",
    ["interface", "reason"],
  );
  const bytes = add.counter(
    "onlink_interface_bytes_total",
    "The bytes of these frames, Ethernet headers included.",
    ["interface", "reason"],
  );
  const answers = add.counter(
    "onlink_interface_metadata_answers_total",
    "Answers of the metadata service to the guest behind the interface, by status.",
    ["interface", "status"],
  );
  const counted = interfaces.flatMap((one) =>
    Object.entries(one.counters ?? {}).map(
      ([reason, counter]) => [{ interface: one.name, reason }, counter] as const,
    ),
  );
  flows(interfaces.flatMap((one) => (one.flows === undefined ? [] : [[{ interface: one.name }, one.flows]])));
  frames(counted.map(([labels, { frames }]) => [labels, frames]));
  bytes(counted.map(([labels, { bytes }]) => [labels, bytes]));
  const asked = new Set(interfaces.flatMap(({ name, counters }) => (counters === undefined ? [] : [name])));
  answers(
    guests
      .filter((guest) => asked.has(guest.interface))
      .flatMap((guest) =>
        guest.answers.map(
          ({ status, count }) => [{ interface: guest.interface, status: String(status) }, count] as const,
        ),
      ),
  );
  return registry.metrics();
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
