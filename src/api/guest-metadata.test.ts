import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { afterEach, beforeEach, expect, it } from "vitest";
import { openMetadataDocuments } from "../agent/metadata-documents.ts";
import { guestMetadataSchema } from "../config/guest-metadata.ts";
import { answerChecker, type CheckAnswer } from "./check-document.ts";
import { fakeAgent } from "./fakes.ts";
import { guestMetadataBodySchema } from "./guest-metadata.ts";
import { createMetrics } from "./metrics.ts";
import type { ApiServer } from "./schemas.ts";
import { createApi } from "./server.ts";

let stateDir: string;
let server: ApiServer;
let check: CheckAnswer;

beforeEach(async () => {
  stateDir = mkdtempSync(join(tmpdir(), "onlink-api-metadata-"));
  const guestMetadata = openMetadataDocuments({
    stateDir,
    directory: undefined,
    configured: (key) => (key === "tap0" ? { hostname: "configured" } : undefined),
    log: pino({ enabled: false }),
  });
  server = await createApi(fakeAgent({ guestMetadata }), createMetrics());
  check = answerChecker((await server.inject("/v1/openapi.json")).json());
});
afterEach(async () => {
  await server.close();
  rmSync(stateDir, { recursive: true });
});

/** Asks about `key`, and holds the answer to the document. */
async function ask(
  method: "GET" | "PUT" | "PATCH" | "DELETE",
  key: string,
  body?: unknown,
  type = "application/json",
) {
  const answer = await server.inject({
    method,
    url: `/v1/metadata/${encodeURIComponent(key)}`,
    ...(body !== undefined && { payload: JSON.stringify(body), headers: { "content-type": type } }),
  });
  expect(check(method, "/v1/metadata/{key}", answer.statusCode, answer.json())).toBeUndefined();
  return { status: answer.statusCode, body: answer.json() };
}

it("gives what counts, replaces, patches and removes", async () => {
  expect(await ask("GET", "tap0")).toEqual({ status: 200, body: { hostname: "configured" } });
  const full = {
    hostname: "a",
    userData: { base64: "AAE=" },
    tags: { x: "1" },
    ec2: { dynamic: { y: [null] } },
  };
  expect(await ask("PUT", "tap0", full)).toEqual({ status: 200, body: full });
  const patch = { userData: null, tags: { z: "2" }, ec2: null };
  const patched = { hostname: "a", tags: { x: "1", z: "2" } };
  expect(await ask("PATCH", "tap0", patch, "application/merge-patch+json")).toEqual({
    status: 200,
    body: patched,
  });
  expect((await ask("PATCH", "tap0", { hostname: null })).body).toEqual({ tags: patched.tags });
  expect(await ask("DELETE", "tap0")).toEqual({ status: 200, body: {} });
  expect((await ask("GET", "tap0")).body).toEqual({ hostname: "configured" });
  expect(await ask("DELETE", "tap0")).toMatchObject({
    status: 404,
    body: { message: 'nothing was set for "tap0"' },
  });
  expect(await ask("GET", "tap1")).toMatchObject({
    status: 404,
    body: { message: 'nothing is said about "tap1"' },
  });
});

it.each([
  ["PUT", "tap1", { hostName: "x", network: { mtu: 1 } }, ["network.mtu", "hostName"]],
  ["PATCH", "tap0", { hostname: "a b" }, ["hostname"]],
  ["PATCH", "tap1", 5, [""]],
  ["PUT", "tap*", {}, [""]],
  ["PUT", "a/b", {}, [""]],
] as const)("answers %s of %s with %j with 400, and says each field", async (method, key, body, fields) => {
  const answer = await ask(method, key, body);
  expect(answer).toMatchObject({ status: 400, body: { errors: fields.map((field) => ({ field })) } });
  expect((await ask("GET", "tap1")).status).toBe(404);
});

it("answers 400 to a body that is not JSON, without quoting it", async () => {
  for (const type of ["application/json", "application/merge-patch+json"]) {
    const headers = { "content-type": type };
    const answer = await server.inject({
      method: "PATCH",
      url: "/v1/metadata/tap0",
      payload: "hush",
      headers,
    });
    expect(answer.statusCode).toBe(400);
    expect(answer.body).not.toContain("hush");
  }
});

it("has the fields of the configuration in the document", () => {
  const names = (schema: { shape: object }) => Object.keys(schema.shape);
  expect(names(guestMetadataBodySchema)).toEqual(names(guestMetadataSchema.out));
});
