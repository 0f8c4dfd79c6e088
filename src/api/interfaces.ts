import * as z from "zod";
import type { Agent } from "../agent/agent.ts";
import { RegistrationError } from "../agent/registered-interfaces.ts";
import { interfaceStatusSchema } from "../agent/status.ts";
import { ApiError, ERRORS } from "./errors.ts";
import { guestMetadataBodySchema } from "./guest-metadata.ts";
import type { InJson } from "./json.ts";
import { type ApiServer, UNCHECKED } from "./schemas.ts";

const interfacesSchema = z
  .strictObject({ interfaces: z.array(interfaceStatusSchema) })
  .meta({ id: "Interfaces", description: "All interfaces, by name." });

/** The fields of an entry of `interfaces` less the name. For the document: the values are the configuration's to judge. */
export const registrationSchema = z
  .strictObject({
    instanceId: z.string().describe("UUID."),
    projectId: z.string().describe("UUID."),
    addresses: z.array(z.string()).describe("IPv4; the first is whom the host reaches."),
    mac: z.string(),
    antiSpoof: z.boolean(),
    unknownPort: z.enum(["reject", "drop"]),
    arpReply: z.enum(["unicast", "broadcast"]),
    gateway: z.strictObject({ address: z.string(), answerArp: z.boolean() }),
    metadata: guestMetadataBodySchema,
    requireToken: z.boolean(),
  })
  .partial()
  .meta({
    id: "Registration",
    description:
      "What is registered for an interface: the fields of an entry of `interfaces` in the configuration, less the name.",
  });

const interfaceSchema = z
  .strictObject({ interface: interfaceStatusSchema, registration: registrationSchema.optional() })
  .meta({ id: "InterfaceDetails", description: "An interface, and what was registered for it." });

/** The body of `GET /v1/interfaces`. */
export type InterfacesBody = InJson<z.output<typeof interfacesSchema>>;

/** The body of `GET` and `PUT /v1/interfaces/NAME`. */
export type InterfaceBody = InJson<z.output<typeof interfaceSchema>>;

const STATUS_CODES = { invalid: 400, conflict: 409, unknown: 404 } as const;

/** `GET /v1/interfaces`, and `GET`, `PUT` and `DELETE /v1/interfaces/NAME`. */
export function registerInterfaces(
  server: ApiServer,
  { addCounts, interfaces }: Pick<Agent, "addCounts" | "interfaces">,
): void {
  const params = z.strictObject({ name: z.string() });
  const response = { 200: interfaceSchema, ...ERRORS };

  function details(name: string): z.output<typeof interfaceSchema> {
    const found = interfaces.get(name);
    if (found === undefined) {
      throw new ApiError(404, `no interface ${JSON.stringify(name)}; GET /v1/interfaces has all of them`);
    }
    const registered = interfaces.registration(name);
    if (registered === undefined) return { interface: found };
    const { name: _, ...registration } = registered;
    return { interface: found, registration };
  }

  server.get(
    "/v1/interfaces",
    {
      schema: {
        summary: "All interfaces that are vifs, should be, or lead to fabric backends",
        querystring: z.strictObject({}),
        response: { 200: interfacesSchema, ...ERRORS },
      },
    },
    async () => {
      addCounts();
      return { interfaces: interfaces.list() };
    },
  );
  server.get(
    "/v1/interfaces/:name",
    {
      schema: {
        summary: "One interface, and what was registered for it",
        params,
        querystring: z.strictObject({}),
        response,
      },
    },
    async ({ params: { name } }) => {
      addCounts();
      return details(name);
    },
  );
  server.put(
    "/v1/interfaces/:name",
    {
      schema: {
        summary: "Registers an interface, whether it is there or not, or replaces its registration",
        description:
          "Kept over restarts. Counts before patterns; a name that the configuration has is refused.",
        params,
        body: registrationSchema,
        response,
      },
      ...UNCHECKED,
    },
    async ({ params: { name }, body }) => {
      tryRegistration(() => interfaces.register(name, body));
      return details(name);
    },
  );
  server.delete(
    "/v1/interfaces/:name",
    {
      schema: {
        summary: "Takes the registration of an interface back",
        params,
        response: { 200: z.strictObject({}), ...ERRORS },
      },
    },
    async ({ params: { name } }) => {
      tryRegistration(() => interfaces.unregister(name));
      return {};
    },
  );
}

function tryRegistration(change: () => void): void {
  try {
    change();
  } catch (error) {
    if (!(error instanceof RegistrationError)) throw error;
    throw new ApiError(STATUS_CODES[error.kind], error.message, error.errors);
  }
}
