/** The agent as programs and people see it: the API held to its own document, metrics, and the commands that list things. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { answerChecker, type OpenApiDocument } from "../src/api/check-document.ts";
import { parseExposition } from "../src/api/exposition.ts";
import type { FlowBody } from "../src/api/flows.ts";
import type { Guest, Lab } from "../src/lab/lab.ts";
import { startDnsServer, startHttpServer } from "../src/lab/servers.ts";
import { CONFIG_FILE, onlink, startAgent, statusOf } from "./support/agent.ts";
import { dig, output, requestFrom } from "./support/commands.ts";
import { openLabWithGuest } from "./support/guest.ts";

const SERVICE = "169.254.169.254";
const PORTS = Array.from({ length: 5 }, (_, index) => 40_000 + index);

let lab: Lab;
let guest: Guest;

beforeAll(async () => {
  ({ lab, guest } = await openLabWithGuest());
  await startHttpServer(lab.host, { address: "127.0.0.1", port: 8080 });
  await startDnsServer(lab.host, { address: "127.0.0.1", port: 5353 });
  await startAgent(lab, {
    services: [
      { name: "web", address: SERVICE, port: 80, backends: ["127.0.0.1:8080"] },
      { name: "dns", address: SERVICE, port: 53, protocol: "udp", backends: ["127.0.0.1:5353"] },
      { name: "lost", address: SERVICE, port: 81, backends: ["198.51.100.1:81"] },
    ],
    interfaces: [{ name: guest.vif, addresses: ["10.0.1.3"] }, { name: "tap7" }],
  });
  await requestFrom(guest, `http://${SERVICE}/`);
  // Each leaves a flow that stays for 180 s.
  for (const port of PORTS) await dig(guest, SERVICE, "-b", `10.0.1.3#${port}`, "host.example");
});
afterAll(() => lab?.close());

/** Asks on the agent's socket. */
async function ask(
  path: string,
  { method = "GET", content = "" } = {},
): Promise<{ status: number; body: unknown }> {
  const form = ["--write-out", "\n%{http_code} %{content_type}"];
  const where = ["--unix-socket", "/run/onlink/onlink.sock", `http://localhost${path}`];
  const data = content === "" ? [] : ["--header", "content-type: application/json", "--data", content];
  const text = await output(lab.host, ["curl", "--silent", "--request", method, ...data, ...form, ...where]);
  const [, body = "", status, type = ""] = /^(.*)\n(\d+) (.*)$/s.exec(text) ?? [];
  return { status: Number(status), body: type.startsWith("application/json") ? JSON.parse(body) : body };
}

/** What a command prints; it must succeed. */
async function printed(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await onlink(lab, ...args, "--config", CONFIG_FILE);
  expect(code, stderr).toBe(0);
  return stdout;
}

/** What to ask for where it is not the path itself without more, and status 200. */
const EXAMPLES: Record<string, { path: string; content?: string; status?: number }> = {
  "GET /v1/ready": { path: "/v1/ready", status: 503 },
  "GET /v1/services/{name}": { path: "/v1/services/lost" },
  "GET /v1/interfaces/{name}": { path: "/v1/interfaces/tap7" },
  "GET /v1/metadata/{key}": { path: "/v1/metadata/tap9", status: 404 },
  "PUT /v1/metadata/{key}": { path: "/v1/metadata/tap9", content: '{"hostname":"web"}' },
  "PATCH /v1/metadata/{key}": { path: "/v1/metadata/tap9", content: '{"hostname":"web2"}' },
  "DELETE /v1/metadata/{key}": { path: "/v1/metadata/tap9" },
  "GET /v1/why": { path: "/v1/why?guest=10.0.1.3" },
  "PUT /v1/interfaces/{name}": { path: "/v1/interfaces/tap9", content: '{"addresses":["10.0.1.4"]}' },
  "DELETE /v1/interfaces/{name}": { path: "/v1/interfaces/tap9" },
};

test("every path of the document answers as the document has it", async () => {
  const document = (await ask("/v1/openapi.json")).body as OpenApiDocument;
  const check = answerChecker(document);
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => ({ method: method.toUpperCase(), path })),
  );
  expect(operations.length).toBeGreaterThan(8);
  for (const { method, path } of operations) {
    const example = EXAMPLES[`${method} ${path}`] ?? { path };
    const { status, body } = await ask(example.path, { method, content: example.content ?? "" });
    expect(status, `${method} ${path}`).toBe(example.status ?? 200);
    expect(check(method, path, status, body)).toBeUndefined();
  }
});

test("health is good, and readiness says which service has no backend", async () => {
  expect(await ask("/v1/health")).toEqual({ status: 200, body: { healthy: true, reasons: [] } });
  expect((await ask("/v1/ready")).body).toEqual({
    ready: false,
    reasons: ["service lost: no backend is in use"],
  });
  expect(await printed("status")).toMatch(
    /^not ok: not all that is configured is in step\n {2}service lost: no backend is in use\n/,
  );
});

test("flows are listed page by page, and by what is asked for", async () => {
  const ports: number[] = [];
  for (let cursor = ""; ; ) {
    const { body } = await ask(`/v1/flows?limit=2&protocol=udp${cursor}`);
    const { flows, next } = body as { flows: FlowBody[]; next?: string };
    ports.push(...flows.map(({ guestPort }) => guestPort));
    if (next === undefined) break;
    cursor = `&cursor=${next}`;
  }
  expect(ports.sort()).toEqual(PORTS);

  const wish = [
    "--interface",
    guest.vif,
    "--service",
    "dns",
    "--guest",
    "10.0.1.3",
    "--state",
    "established",
  ];
  const lines = (await printed("flows", ...wish, "--backend", "127.0.0.1:5353", "--json")).trim().split("\n");
  const flows = lines.map((line): FlowBody => JSON.parse(line));
  expect(flows.map(({ guestPort }) => guestPort).sort()).toEqual(PORTS);
  for (const { age, idle, bytesIn, bytesOut } of flows) {
    expect(age).toBeGreaterThanOrEqual(idle);
    for (const bytes of [bytesIn, bytesOut]) expect(bytes).toBeGreaterThan(50);
  }
  expect((await printed("flows", "--limit", "3")).split("\n").length).toBe(1 + 3 + 1);
  expect(await printed("flows", "--protocol", "icmp")).toBe("no flows\n");

  const unknown = await onlink(lab, "flows", "--service", "ntp", "--config", CONFIG_FILE);
  expect(unknown).toMatchObject({ code: 1, stderr: expect.stringContaining('no service "ntp"') });
  const wrong = await onlink(lab, "flows", "--guest", "red", "--config", CONFIG_FILE);
  expect(wrong).toMatchObject({ code: 2, stderr: expect.stringContaining("expected an IPv4 address") });
});

test("services and interfaces are listed with how they stand", async () => {
  const services = await printed("services");
  expect(services).toMatch(
    /^web +169\.254\.169\.254 +80 +tcp +\d+ .* 127\.0\.0\.1:8080 +in use, host-local$/m,
  );
  expect(services).toMatch(/^lost .*198\.51\.100\.1:81 +out of use: no route to it$/m);
  const interfaces = await printed("interfaces");
  expect(interfaces).toMatch(
    new RegExp(`^${guest.vif} +attached +169\\.254\\.64\\.2 +\\d+ +\\d.*B +\\d.*B +0$`, "m"),
  );
  expect(interfaces).toMatch(/^tap7 +waiting /m);
});

test("metrics count what went over the datapath", async () => {
  const { body } = await ask(`/metrics?interfaces=${guest.vif}`);
  const families = parseExposition(body as string);
  const value = (name: string, labels: Record<string, string> = {}) =>
    families
      .get(name)
      ?.samples.find((one) => Object.entries(labels).every(([key, text]) => one.labels[key] === text))?.value;
  const { counters } = await statusOf(lab);
  expect(value("onlink_frames_total", { reason: "forwarded" })).toBe(Number(counters.forwarded.frames));
  expect(value("onlink_interface_frames_total", { interface: guest.vif, reason: "returned" })).toBe(
    Number(counters.returned.frames),
  );
  expect(value("onlink_backend_up", { service: "lost" })).toBe(0);
  expect(value("onlink_service_flows_opened_total", { service: "web" })).toBeGreaterThan(0);
  expect(value("onlink_service_refused_total", { service: "lost" })).toBe(0);
  expect(value("onlink_ready")).toBe(0);
  expect(value("onlink_reconcile_duration_seconds", { trigger: "start", le: "+Inf" })).toBe(1);
});
