/** The document and the answers of the API, held to each other. */
import { channel } from "node:diagnostics_channel";
import type { FastifyInstance, RouteOptions } from "fastify";
import { afterEach, beforeEach, expect, it } from "vitest";
import { DatapathError } from "../datapath/errors.ts";
import { answerChecker, type CheckAnswer, type OpenApiDocument } from "./check-document.ts";
import { FLOW, fakeAgent, STATUS } from "./fakes.ts";
import { inJson } from "./json.ts";
import { createMetrics } from "./metrics.ts";
import type { ApiServer } from "./schemas.ts";
import { type ApiAgent, createApi } from "./server.ts";

let server: ApiServer;
/** Every route that was registered, as the document would have it. */
let routes: string[];
let document: OpenApiDocument;
let check: CheckAnswer;

/** Serves the API of a fake agent, and takes its document. */
async function serve(changes: Partial<ApiAgent> = {}): Promise<void> {
  await server?.close();
  server = await createApi(fakeAgent(changes), createMetrics());
  document = (await server.inject("/v1/openapi.json")).json();
  check = answerChecker(document);
}

/** Asks, and holds the answer to the document; `path` as the document has it where it differs from the URL's. */
async function ask(url: string, path = url.split("?", 1)[0] as string) {
  const answer = await server.inject(url);
  const isJson = String(answer.headers["content-type"]).startsWith("application/json");
  const body = isJson ? answer.json() : answer.body;
  expect(check("GET", path, answer.statusCode, body)).toBeUndefined();
  return { status: answer.statusCode, body };
}

/** fastify tells of each new server here, before it has routes. */
const newServers = channel("fastify.initialization");

function noteRoutes(message: unknown): void {
  const { fastify } = message as { fastify: FastifyInstance };
  fastify.addHook("onRoute", ({ method, url }: RouteOptions) => {
    const path = url.replaceAll(/:(\w+)/g, "{$1}");
    routes.push(...[method].flat().flatMap((one) => (one === "HEAD" ? [] : [`${one} ${path}`])));
  });
}

beforeEach(async () => {
  routes = [];
  newServers.subscribe(noteRoutes);
  await serve();
  newServers.unsubscribe(noteRoutes);
  // The server that makes the document has the same routes.
  routes = [...new Set(routes)];
});
afterEach(() => server.close());

/** What to ask for, by path; those without an entry are asked for as they are. */
const EXAMPLES: Record<string, string> = {
  "/v1/services/{name}": "/v1/services/dns",
  "/v1/interfaces/{name}": "/v1/interfaces/tap0",
  "/v1/why": "/v1/why?guest=tap0",
  "/v1/metadata/{key}": "/v1/metadata/tap0",
};

it("has every route in the document, each with an answer that fits its schema", async () => {
  const inDocument = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  );
  expect(routes.length).toBeGreaterThan(5);
  expect(inDocument.sort()).toEqual(routes.sort());
  for (const path of Object.keys(document.paths)) {
    const { status } = await ask(EXAMPLES[path] ?? path, path);
    expect(status, path).toBe(200);
  }
});

it("says in the document what a schema says, and takes no more fields than that", async () => {
  expect(document.openapi).toBe("3.1.0");
  expect(document.components.schemas.Service).toMatchObject({
    type: "object",
    additionalProperties: false,
    properties: { name: { type: "string" }, backends: { items: { $ref: "#/components/schemas/Backend" } } },
  });
  const dns = inJson(STATUS.services[1]);
  expect(check("GET", "/v1/services/{name}", 200, dns)).toBeUndefined();
  expect(check("GET", "/v1/services/{name}", 200, { ...dns, more: 1 })).toContain("additional properties");
  expect(check("GET", "/v1/services/{name}", 200, { ...dns, port: "53" })).toContain("must be integer");
  const [metadata] = STATUS.services;
  await serve({ services: () => [{ ...metadata!, secret: "x" } as never] });
  const answer = await server.inject("/v1/services");
  expect(check("GET", "/v1/services", 200, answer.json()), "answers are not filtered").toContain(
    "additional",
  );
});

it("gives a service by its name", async () => {
  expect((await ask("/v1/services")).body.services.map((one: { name: string }) => one.name)).toEqual([
    "metadata",
    "dns",
  ]);
  expect((await ask("/v1/services/dns", "/v1/services/{name}")).body).toEqual(inJson(STATUS.services[1]));
  expect(await ask("/v1/services/ntp", "/v1/services/{name}")).toEqual({
    status: 404,
    body: {
      statusCode: 404,
      error: "Not Found",
      message: 'no service "ntp"; GET /v1/services has all of them',
    },
  });
});

it("counts what flows have carried before it shows services and interfaces, once, and not where it needs their names alone", async () => {
  const calls: string[] = [];
  const { interfaces } = fakeAgent();
  const noting =
    <A extends unknown[], R>(call: string, give: (...args: A) => R) =>
    (...args: A): R => {
      calls.push(call);
      return give(...args);
    };
  await serve({
    addCounts: noting("count", () => {}),
    services: noting("show", () => STATUS.services),
    interfaces: {
      ...interfaces,
      list: noting("show", interfaces.list),
      get: noting("show", interfaces.get),
    },
  });
  for (const path of ["services", "services/dns", "interfaces", "interfaces/tap0"]) {
    await server.inject(`/v1/${path}`);
    expect(calls.splice(0), path).toEqual(["count", "show"]);
  }
  await server.inject("/v1/flows?service=dns&interface=tap0");
  expect(calls).not.toContain("count");
});

it("gives flows page by page, and says what is wrong with a question", async () => {
  const asked: unknown[] = [];
  await serve({
    flows: async (wish) => {
      asked.push(wish);
      if (wish.cursor === "none") throw new DatapathError('"none" is not a cursor');
      if (wish.cursor === "broken") throw new DatapathError("list a map: ENOMEM", 12);
      return { flows: [FLOW], next: "1.5" };
    },
  });
  expect((await ask("/v1/flows")).body).toEqual({ flows: [inJson(FLOW)], next: "1.5" });
  const query = "interface=tap0&service=dns&guest=10.0.1.3&backend=192.0.2.1:53&protocol=udp&state=closing";
  await ask(`/v1/flows?${query}&limit=7&cursor=1.5`);
  await ask("/v1/flows?backend=192.0.2.1");
  expect(asked).toEqual([
    { limit: 1000, vif: undefined },
    {
      vif: 5,
      service: "dns",
      guest: "10.0.1.3",
      backend: { address: "192.0.2.1", port: 53 },
      protocol: "udp",
      state: "closing",
      limit: 7,
      cursor: "1.5",
    },
    { limit: 1000, vif: undefined, backend: { address: "192.0.2.1" } },
  ]);
  expect((await ask("/v1/flows?interface=veth-web")).body, "not there yet").toEqual({ flows: [] });
  for (const [wrong, status, message] of [
    ["interface=tap9", 404, 'no interface "tap9"; GET /v1/interfaces has all of them'],
    ["service=ntp", 404, 'no service "ntp"; GET /v1/services has all of them'],
    ["limit=1001", 400, /^query field "limit": .*1000/],
    ["limit=0", 400, /^query field "limit": /],
    ["limit=x", 400, /^query field "limit": /],
    ["guest=tap0", 400, 'query field "guest": expected an IPv4 address'],
    ["backend=ns1:53", 400, /^query field "backend": expected an IPv4 address, or one with a port/],
    ["protocol=sctp", 400, /^query field "protocol": .*icmp/],
    ["cursor=none", 400, '"none" is not a cursor'],
    ["cursor=broken", 500, "list a map: ENOMEM"],
  ] as const) {
    const answer = await ask(`/v1/flows?${wrong}`);
    expect(answer.status, wrong).toBe(status);
    expect(answer.body.message, wrong).toEqual(
      typeof message === "string" ? message : expect.stringMatching(message),
    );
  }
});

it.each(["/v1/health", "/v1/ready"])("answers %s with 200 or 503, and the reasons", async (path) => {
  expect((await ask(path)).body).toMatchObject({ reasons: [] });
  const broken = () => ["the datapath is gone"];
  await serve({ health: broken, readiness: broken });
  expect(await ask(path)).toMatchObject({ status: 503, body: { reasons: ["the datapath is gone"] } });
});

it("has one form for errors", async () => {
  const notFound = await server.inject("/v2/status?x=1");
  expect(notFound.statusCode).toBe(404);
  expect(notFound.json()).toEqual({
    statusCode: 404,
    error: "Not Found",
    message: "no GET /v2/status; GET /v1/openapi.json has what there is",
  });
  expect((await server.inject({ method: "DELETE", url: "/v1/status" })).statusCode).toBe(404);
  for (const path of Object.keys(document.paths)) {
    const example = EXAMPLES[path] ?? path;
    const { status, body } = await ask(`${example}${example.includes("?") ? "&" : "?"}frobnicate=1`, path);
    expect(status, path).toBe(400);
    expect(body.message, path).toContain('unknown query field "frobnicate"; ');
  }
  expect((await ask("/v1/events?follow=perhaps")).body.message).toMatch(/^query field "follow": /);
  await serve({
    status: () => {
      throw new Error("the maps are gone");
    },
  });
  expect((await ask("/v1/status")).body).toEqual({
    statusCode: 500,
    error: "Internal Server Error",
    message: "the maps are gone",
  });
});
