import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { AgentStatus } from "../agent/status.ts";
import { type Family, parseExposition } from "./exposition.ts";
import { fakeAgent, fakeCounters, STATUS, statusOf } from "./fakes.ts";
import { createMetrics, MAX_BACKENDS, MAX_VIFS } from "./metrics.ts";
import { createApi } from "./server.ts";

/** Serves the metrics of a fake agent, and reads them as Prometheus would. */
async function scrape(
  query = "",
  { status = STATUS, metrics = createMetrics(), ready = true } = {},
): Promise<Map<string, Family>> {
  const problems = ready ? [] : ["not yet"];
  const agent = fakeAgent({ status: statusOf({ ...status, problems }) });
  const server = await createApi(agent, metrics);
  try {
    const answer = await server.inject(`/metrics${query}`);
    expect(answer.statusCode).toBe(200);
    expect(answer.headers["content-type"]).toBe("text/plain; version=0.0.4; charset=utf-8");
    return parseExposition(answer.body);
  } finally {
    await server.close();
  }
}

/** The values of a family by its labels: those of one sample with commas between them. */
function values(families: Map<string, Family>, name: string): Record<string, number> {
  const { samples } = families.get(name) ?? { samples: [] };
  return Object.fromEntries(samples.map(({ labels, value }) => [Object.values(labels).join(","), value]));
}

describe("the metrics", () => {
  it("say what the status says", async () => {
    const families = await scrape();
    expect(values(families, "onlink_frames_total")).toMatchObject({ forwarded: 7, spoofed: 0 });
    expect(values(families, "onlink_bytes_total")).toMatchObject({ forwarded: 2 ** 60 });
    expect(values(families, "onlink_flows")).toEqual({ "": 3 });
    expect(values(families, "onlink_flows_limit")).toEqual({ "": 16384 });
    expect(values(families, "onlink_interface_flows_limit")).toEqual({ "": 1024 });
    expect(values(families, "onlink_interfaces")).toEqual({
      attached: 1,
      fabric: 1,
      failed: 1,
      disabled: 1,
      waiting: 1,
    });
    expect(values(families, "onlink_fabric_interfaces")).toEqual({ attached: 1, failed: 1, waiting: 1 });
    expect(values(families, "onlink_services")).toEqual({ "": 2 });
    expect(values(families, "onlink_services_without_backend")).toEqual({ "": 0 });
    expect(values(families, "onlink_service_backends")).toEqual({ metadata: 1, dns: 2 });
    expect(values(families, "onlink_service_backends_in_use")).toEqual({ metadata: 1, dns: 1 });
    expect(values(families, "onlink_service_flows_opened_total")).toEqual({ metadata: 7, dns: 2 });
    expect(values(families, "onlink_service_refused_total")).toEqual({ metadata: 0, dns: 3 });
    expect(values(families, "onlink_service_frames_total")).toMatchObject({
      "metadata,out": 40,
      "metadata,in": 30,
    });
    expect(values(families, "onlink_service_bytes_total")).toMatchObject({ "dns,out": 140, "dns,in": 300 });
    expect(values(families, "onlink_backend_up")).toEqual({
      "metadata,127.0.0.1:8775": 1,
      "dns,192.0.2.1:53": 1,
      "dns,198.51.100.1:53": 0,
    });
    expect(values(families, "onlink_events_total")).toEqual({ conflict: 2, spoofed: 0 });
    expect(values(families, "onlink_events_lost_total")).toEqual({ "": 12 });
    expect(values(families, "onlink_build_info")).toEqual({ "1.2.3,tcx": 1 });
    expect(values(families, "onlink_ready")).toEqual({ "": 1 });
    expect(values(families, "onlink_config_last_reload_successful")).toEqual({ "": 0 });
    expect(values(families, "onlink_config_last_reload_success_timestamp_seconds")).toEqual({
      "": Date.UTC(2026, 0, 2, 3, 4, 5) / 1000,
    });
    expect(families.has("process_resident_memory_bytes")).toBe(true);
  });

  it("say how the backends that are checked are, names are found, and metadata is served", async () => {
    const [, dns] = STATUS.services;
    const health = { since: STATUS.since };
    const [first, second] = dns!.backends;
    const status: AgentStatus = {
      ...STATUS,
      services: [
        {
          ...dns!,
          backends: [
            { ...first!, health: { ...health, state: "healthy" } },
            { ...second!, health: { ...health, state: "unhealthy", error: "connection refused" } },
            { name: "ns1.example", port: 53, state: "out of use", reason: "not looked up yet" },
          ],
        },
      ],
    };
    const families = await scrape("", { status });
    expect(values(families, "onlink_backend_healthy")).toEqual({
      "dns,192.0.2.1:53": 1,
      "dns,198.51.100.1:53": 0,
    });
    expect(values(families, "onlink_backend_up")).toMatchObject({ "dns,ns1.example:53": 0 });
    expect(values(families, "onlink_name_lookups_total")).toEqual({ "": 9 });
    expect(values(families, "onlink_name_lookup_failures_total")).toEqual({ "": 4 });
    expect(values(families, "onlink_metadata_listening")).toEqual({ "": 1 });
    expect(values(families, "onlink_metadata_answers_total")).toEqual({ "200": 5, "502": 1 });
    expect(values(families, "onlink_metadata_refusals_total")).toMatchObject({ tooManyRequests: 2 });
    expect(values(families, "onlink_metadata_upstream_up")).toEqual({ "10.0.0.5:8775": 1 });
    const { samples = [] } = families.get("onlink_metadata_answer_duration_seconds") ?? {};
    expect(samples).toEqual([
      { name: "onlink_metadata_answer_duration_seconds_bucket", labels: { le: "0.001" }, value: 5 },
      { name: "onlink_metadata_answer_duration_seconds_bucket", labels: { le: "+Inf" }, value: 6 },
      { name: "onlink_metadata_answer_duration_seconds_sum", labels: {}, value: 0.25 },
      { name: "onlink_metadata_answer_duration_seconds_count", labels: {}, value: 6 },
    ]);
  });

  it("follow what changes, and forget what is gone", async () => {
    const metrics = createMetrics();
    await scrape("", { metrics });
    const [metadata] = STATUS.services;
    const status: AgentStatus = {
      ...STATUS,
      services: [{ ...metadata!, backends: [] }],
      configuration: { file: "", loaded: STATUS.since },
      counters: fakeCounters({ forwarded: { frames: 9n, bytes: 0n } }),
    };
    const families = await scrape("", { metrics, status, ready: false });
    expect(values(families, "onlink_backend_up")).toEqual({});
    expect(values(families, "onlink_services_without_backend")).toEqual({ "": 1 });
    expect(values(families, "onlink_frames_total")).toMatchObject({ forwarded: 9 });
    expect(values(families, "onlink_ready")).toEqual({ "": 0 });
    expect(values(families, "onlink_config_last_reload_successful")).toEqual({ "": 1 });
  });

  it("keep how long it took to bring the datapath in step, and what failed", async () => {
    const metrics = createMetrics();
    metrics.onReconcile("start", 0.2, 0);
    metrics.onReconcile("host", 0.003, 1);
    metrics.onReconcile("host", 99, 2);
    const families = await scrape("", { metrics });
    const { samples = [] } = families.get("onlink_reconcile_duration_seconds") ?? {};
    const count = (le: string) =>
      samples.find(({ labels }) => labels.trigger === "host" && labels.le === le)?.value;
    expect([count("0.0025"), count("0.005"), count("5"), count("+Inf")]).toEqual([0, 1, 1, 2]);
    expect(values(families, "onlink_reconcile_errors_total")).toEqual({ "": 3 });
  });

  it("have series of single vifs only for those who ask", async () => {
    expect((await scrape()).has("onlink_interface_flows")).toBe(false);
    expect((await scrape("?interfaces=tap9")).has("onlink_interface_flows")).toBe(false);
    for (const query of ["?interfaces=tap9,tap0", "?interfaces=all"]) {
      const families = await scrape(query);
      expect(values(families, "onlink_interface_flows")).toEqual({ tap0: 3 });
      expect(values(families, "onlink_interface_frames_total")).toMatchObject({ "tap0,forwarded": 5 });
      expect(values(families, "onlink_interface_metadata_answers_total")).toEqual({
        "tap0,200": 5,
        "tap0,502": 1,
      });
      expect(values(families, "onlink_interface_bytes_total")).toMatchObject({ "tap0,forwarded": 500 });
    }
  });

  it("have no more series than a server of metrics can bear, and say how many are left out", async () => {
    const [service] = STATUS.services;
    const vif = STATUS.interfaces.find(({ state }) => state === "attached");
    const status: AgentStatus = {
      ...STATUS,
      services: Array.from({ length: 2 }, (_, index) => ({
        ...service!,
        name: `s${index}`,
        backends: Array.from({ length: MAX_BACKENDS / 2 + 1 }, (_, port) => ({
          address: "127.0.0.1",
          port,
          state: "in use",
          kind: "host-local",
        })),
      })),
      interfaces: Array.from({ length: MAX_VIFS + 3 }, (_, index) => ({ ...vif!, name: `tap${index}` })),
    };
    const families = await scrape("?interfaces=all", { status });
    expect(families.get("onlink_backend_up")?.samples.length).toBe(MAX_BACKENDS);
    expect(families.get("onlink_interface_flows")?.samples.length).toBe(MAX_VIFS);
    expect(values(families, "onlink_series_left_out")).toEqual({ backends: 2, interfaces: 3 });
  });

  it("have labels that hold whatever a name holds", async () => {
    const name = 'a"b\\c{d}=1,\u00e4';
    const vif = STATUS.interfaces.find(({ state }) => state === "attached");
    const families = await scrape("?interfaces=all", {
      status: { ...STATUS, interfaces: [{ ...vif!, name }] },
    });
    expect(values(families, "onlink_interface_flows")).toEqual({ [name]: 3 });
  });
});

describe("the pages about metrics", () => {
  const page = (name: string) => readFileSync(new URL(`../../docs/${name}`, import.meta.url), "utf8");

  it("docs/metrics.md has each metric with its type and labels, and no others", async () => {
    const families = await scrape("?interfaces=all");
    const own = [...families].filter(([name]) => name.startsWith("onlink_"));
    expect(own.length).toBeGreaterThan(20);
    const told = [...page("metrics.md").matchAll(/^\| `(onlink_\w+)` \| (\w+) \|/gm)];
    expect(told.map(([, name, type]) => `${name} ${type}`).sort()).toEqual(
      own.map(([name, { type }]) => `${name} ${type}`).sort(),
    );
  });

  it("docs/grafana-dashboard.json and docs/prometheus-alerts.yaml ask for metrics and labels that there are", async () => {
    const metrics = createMetrics();
    metrics.onReconcile("start", 0.2, 0);
    const families = await scrape("?interfaces=all", { metrics });
    const labels = new Map<string, Set<string>>();
    for (const { samples } of families.values())
      for (const { name, labels: has } of samples)
        labels.set(name, new Set([...(labels.get(name) ?? []), ...Object.keys(has), "job", "instance"]));
    const dashboard = JSON.parse(page("grafana-dashboard.json"));
    const expressions: string[] = [
      ...dashboard.panels.flatMap(({ targets = [] }: { targets?: Array<{ expr: string }> }) =>
        targets.map(({ expr }) => expr),
      ),
      ...[...page("prometheus-alerts.yaml").matchAll(/^ *expr: (.*)$/gm)].map(([, expr]) => expr),
    ];
    expect(expressions.length).toBeGreaterThan(15);
    for (const expression of expressions) {
      const asked = [...expression.matchAll(/((?:onlink|process|nodejs)_\w+)(?:\{([^}]*)\})?/g)];
      expect(asked.length, expression).toBeGreaterThan(0);
      for (const [, name = "", selector = ""] of asked) {
        expect([...labels.keys()], expression).toContain(name);
        for (const [, label] of selector.matchAll(/(\w+)\s*(?:=~|!~|!=|=)/g))
          expect([...labels.get(name)!], expression).toContain(label);
      }
      const grouped = [...expression.matchAll(/by \(([^)]*)\)/g)].flatMap(([, list = ""]) =>
        list.split(/, */),
      );
      const known = new Set(asked.flatMap(([, name = ""]) => [...labels.get(name)!]));
      for (const label of grouped) expect([...known], expression).toContain(label);
    }
  });
});
