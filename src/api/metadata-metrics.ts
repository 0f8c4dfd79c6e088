import type { Registry } from "prom-client";
import type { MetadataStats } from "../metadata/stats.ts";
import { metricsOf } from "./metric-set.ts";

/** Metrics of the agent's own metadata service; what it gives back sets them. */
export function metadataMetrics(registry: Registry): (stats: MetadataStats) => void {
  const add = metricsOf(registry);
  const listening = add.gauge(
    "onlink_metadata_listening",
    "1 while the metadata service listens; absent where no service is of kind metadata.",
  );
  const connections = add.gauge(
    "onlink_metadata_connections",
    "Connections of guests to the metadata service now.",
  );
  const answers = add.counter(
    "onlink_metadata_answers_total",
    "Answers of the metadata service by status; 499: the guest went away before.",
    ["status"],
  );
  const refusals = add.counter(
    "onlink_metadata_refusals_total",
    "Requests and connections that the metadata service refused without serving them, by reason.",
    ["reason"],
  );
  const times = add.histogram(
    "onlink_metadata_answer_duration_seconds",
    "How long answers of the metadata service took.",
  );
  const upstreamUp = add.gauge(
    "onlink_metadata_upstream_up",
    "1 while the upstream takes connections, 0 after it did not.",
    ["upstream"],
  );
  const upstreamConnections = add.gauge(
    "onlink_metadata_upstream_connections",
    "Connections to the upstream, by what they do.",
    ["upstream", "state"],
  );
  const upstreamWaiting = add.gauge(
    "onlink_metadata_upstream_waiting",
    "Requests that wait for a connection to the upstream.",
    ["upstream"],
  );
  const upstreamFailures = add.counter(
    "onlink_metadata_upstream_failures_total",
    "Attempts to connect to the upstream that failed, since it was configured.",
    ["upstream"],
  );
  return (stats) => {
    listening(stats.listening === undefined ? [] : [[{}, Number(stats.listening.state === "listening")]]);
    connections([[{}, stats.connections]]);
    answers(stats.answers.map(({ status, count }) => [{ status: String(status) }, count]));
    refusals(Object.entries(stats.refusals).map(([reason, count]) => [{ reason }, count]));
    times(stats.latency);
    upstreamUp(stats.upstreams.map(({ upstream, state }) => [{ upstream }, Number(state === "up")]));
    upstreamConnections(
      stats.upstreams.flatMap(({ upstream, connections: { busy, idle } }) => [
        [{ upstream, state: "busy" }, busy],
        [{ upstream, state: "idle" }, idle],
      ]),
    );
    upstreamWaiting(stats.upstreams.map(({ upstream, waiting }) => [{ upstream }, waiting]));
    upstreamFailures(stats.upstreams.map(({ upstream, failures }) => [{ upstream }, failures]));
  };
}
