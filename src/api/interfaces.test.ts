import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { RegistrationError } from "../agent/registered-interfaces.ts";
import { interfaceSchema } from "../config/schema.ts";
import { answerChecker, type CheckAnswer } from "./check-document.ts";
import { fakeAgent, STATUS } from "./fakes.ts";
import { registrationSchema } from "./interfaces.ts";
import { inJson } from "./json.ts";
import { createMetrics } from "./metrics.ts";
import type { ApiServer } from "./schemas.ts";
import { createApi } from "./server.ts";

let server: ApiServer;
let check: CheckAnswer;
let refusal: Error | undefined;

beforeEach(async () => {
  refusal = undefined;
  const agent = fakeAgent();
  const { register, unregister } = agent.interfaces;
  const unlessRefused =
    <T extends unknown[]>(change: (...args: T) => void) =>
    (...args: T) => {
      if (refusal !== undefined) throw refusal;
      change(...args);
    };
  const interfaces = {
    ...agent.interfaces,
    register: unlessRefused(register),
    unregister: unlessRefused(unregister),
  };
  server = await createApi({ ...agent, interfaces }, createMetrics());
  check = answerChecker((await server.inject("/v1/openapi.json")).json());
});
afterEach(() => server.close());

/** Asks about the interface `name`, and holds the answer to the document. */
async function ask(method: "GET" | "PUT" | "DELETE", name: string, body?: object | string) {
  const answer = await server.inject({
    method,
    url: `/v1/interfaces/${encodeURIComponent(name)}`,
    ...(body === undefined ? {} : { payload: body, headers: { "content-type": "application/json" } }),
  });
  expect(check(method, "/v1/interfaces/{name}", answer.statusCode, answer.json())).toBeUndefined();
  return { status: answer.statusCode, body: answer.json() };
}

describe("/v1/interfaces", () => {
  it("has the interfaces of the status", async () => {
    const { interfaces } = (await server.inject("/v1/interfaces")).json();
    expect(interfaces).toEqual(inJson(STATUS.interfaces));
    expect((await ask("GET", "tap0")).body).toEqual({ interface: inJson(STATUS.interfaces[1]) });
    expect(await ask("GET", "tap9")).toMatchObject({ status: 404, body: { message: /no interface "tap9"/ } });
  });

  it("registers an interface, shows what was registered, and takes it back", async () => {
    const registration = { mac: "02:00:0a:00:01:03", gateway: { address: "10.0.1.1", answerArp: true } };
    const details = { interface: { name: "tap 9%", state: "waiting" }, registration };
    expect(await ask("PUT", "tap 9%", registration)).toEqual({ status: 200, body: details });
    expect((await ask("GET", "tap 9%")).body).toEqual(details);
    expect(await ask("DELETE", "tap 9%")).toEqual({ status: 200, body: {} });
    expect((await ask("GET", "tap 9%")).status).toBe(404);
  });

  it.each([
    ["invalid", 400],
    ["conflict", 409],
    ["unknown", 404],
  ] as const)("answers what is %s with %i, and says each error", async (kind, status) => {
    const errors = [
      { field: "mac", message: "wrong" },
      { field: "", message: "all of it" },
    ];
    refusal = new RegistrationError(kind, errors);
    const body = expect.objectContaining({ statusCode: status, message: "mac: wrong\nall of it", errors });
    expect(await ask("PUT", "tap9", {})).toEqual({ status, body });
    expect(await ask("DELETE", "tap9")).toEqual({ status, body });
  });

  it("refuses what is no JSON, and tells a fault of its own", async () => {
    expect((await ask("PUT", "tap9", "{")).status).toBe(400);
    refusal = new Error("disk full");
    expect(await ask("PUT", "tap9", {})).toMatchObject({ status: 500, body: { message: "disk full" } });
  });

  it("has the fields of the configuration in its document", () => {
    expect(Object.keys(registrationSchema.shape).sort()).toEqual(
      Object.keys(interfaceSchema.omit({ name: true }).shape).sort(),
    );
  });
});
