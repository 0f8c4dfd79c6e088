import type { MetadataStats } from "../metadata/stats.ts";
import { counter, gauge, histogram } from "./metric-text.ts";

const write = {
  listening: gauge(
    "onlink_metadata_listening",
    "1 while the metadata service listens; absent where no service is of kind metadata.",
  ),
  connections: gauge("onlink_metadata_connections", "Connections of guests to the metadata service now."),
  answers: counter(
    "onlink_metadata_answers_total",
    "Answers of the metadata service by status; 499: the guest went away before.",
  ),
  refusals: counter(
    "onlink_metadata_refusals_total",
    "Requests and connections that the metadata service refused without serving them, by reason.",
  ),
  times: histogram(
    "onlink_metadata_answer_duration_seconds",
    "How long answers of the metadata service took.",
  ),
  upstreamUp: gauge(
    "onlink_metadata_upstream_up",
    "1 while the upstream takes connections, 0 after it did not.",
  ),
  upstreamConnections: gauge(
    "onlink_metadata_upstream_connections",
    "Connections to the upstream, by what they do.",
  ),
  upstreamWaiting: gauge(
    "onlink_metadata_upstream_waiting",
    "Requests that wait for a connection to the upstream.",
  ),
  upstreamFailures: counter(
    "onlink_metadata_upstream_failures_total",
    "Attempts to connect to the upstream that failed, since it was configured.",
  ),
};

/** Metrics of the agent's own metadata service: the lines of each family. */
export function metadataMetrics(stats: MetadataStats): string[] {
  return [
    write.listening(
      stats.listening === undefined ? [] : [[{}, Number(stats.listening.state === "listening")]],
    ),
    write.connections([[{}, stats.connections]]),
    write.answers(stats.answers.map(({ status, count }) => [{ status: String(status) }, count])),
    write.refusals(Object.entries(stats.refusals).map(([reason, count]) => [{ reason }, count])),
    write.times(stats.latency),
    write.upstreamUp(stats.upstreams.map(({ upstream, state }) => [{ upstream }, Number(state === "up")])),
    write.upstreamConnections(
      stats.upstreams.flatMap(({ upstream, connections: { busy, idle } }) => [
        [{ upstream, state: "busy" }, busy],
        [{ upstream, state: "idle" }, idle],
      ]),
    ),
    write.upstreamWaiting(stats.upstreams.map(({ upstream, waiting }) => [{ upstream }, waiting])),
    write.upstreamFailures(stats.upstreams.map(({ upstream, failures }) => [{ upstream }, failures])),
  ];
}
