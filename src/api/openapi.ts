/** The OpenAPI document (version 3.1, whose schemas are JSON Schema 2020-12), made of the routes' own schemas. */
import fastify, { type FastifyInstance, type FastifySchema, type RouteOptions } from "fastify";
import * as z from "zod";
import { ERRORS } from "./errors.ts";
import { type ApiServer, ZOD_SCHEMAS } from "./schemas.ts";

const COMPONENTS = "#/components/schemas/";

/** An OpenAPI document, as far as the API's tests look at it. */
const documentSchema = z
  .looseObject({ openapi: z.string(), paths: z.record(z.string(), z.unknown()) })
  .meta({ id: "Document", description: "An OpenAPI document." });

/** Collects the routes that are added from now on. */
export function collectRoutes(server: FastifyInstance): readonly RouteOptions[] {
  const routes: RouteOptions[] = [];
  server.addHook("onRoute", (route) => {
    routes.push(route);
  });
  return routes;
}

/** `GET /v1/openapi.json`: made at the first time that it is asked for, since what makes it is more code than the rest of the API. */
export function registerOpenApi(server: ApiServer, version: string, routes: readonly RouteOptions[]): void {
  let document: Promise<z.output<typeof documentSchema>> | undefined;
  server.get(
    "/v1/openapi.json",
    {
      schema: {
        summary: "This document",
        querystring: z.strictObject({}),
        response: { 200: documentSchema, ...ERRORS },
      },
    },
    () => {
      document ??= documentOf(routes, version);
      return document;
    },
  );
}

/** The document of some routes, made by a server that has them and serves nothing. */
async function documentOf(
  routes: readonly RouteOptions[],
  version: string,
): Promise<z.output<typeof documentSchema>> {
  const { default: swagger } = await import("@fastify/swagger");
  const server = fastify({ schemaController: ZOD_SCHEMAS });
  await server.register(swagger, {
    openapi: {
      openapi: "3.1.0",
      info: {
        title: "onlink",
        version,
        description: "The agent of onlink. Counters are numbers, or text where a number would lose digits.",
      },
    },
    convertConstToEnum: false,
    transform: ({ schema, url }) => ({ schema: inJsonSchema(schema as ZodRoute), url }),
  });
  for (const { method, url, schema = {} } of routes)
    if (method !== "HEAD") server.route({ method, url, schema, handler: async () => {} });
  await server.ready();
  return { ...documentSchema.parse(server.swagger()), components: { schemas: components() } };
}

/** What a route of the API declares. */
interface ZodRoute extends Omit<FastifySchema, "response"> {
  body?: z.ZodType;
  querystring?: z.ZodType;
  params?: z.ZodType;
  response?: Record<
    string,
    z.ZodType | { description: string; content: Record<string, { schema: z.ZodType }> }
  >;
}

/** The same with JSON schemas, those that have names by reference. */
function inJsonSchema({ body, querystring, params, response = {}, ...others }: ZodRoute): FastifySchema {
  return {
    ...others,
    ...(body && { body: toJsonSchema(body) }),
    ...(querystring && { querystring: toJsonSchema(querystring) }),
    ...(params && { params: toJsonSchema(params) }),
    response: Object.fromEntries(
      Object.entries(response).map(([status, answer]) => [
        status,
        "content" in answer
          ? {
              description: answer.description,
              content: Object.fromEntries(
                Object.entries(answer.content).map(([type, { schema }]) => [
                  type,
                  { schema: toJsonSchema(schema) },
                ]),
              ),
            }
          : toJsonSchema(answer),
      ]),
    ),
  };
}

const CONVERSION = {
  io: "input",
  unrepresentable: "any",
  override: ({ zodSchema, jsonSchema }) => {
    // As `inJson` writes it.
    if (zodSchema._zod.def.type === "bigint")
      jsonSchema.anyOf = [{ type: "integer" }, { type: "string", pattern: "^-?[0-9]+$" }];
  },
} satisfies Parameters<typeof z.toJSONSchema>[1];

/** A schema that has a name by reference; others in place, without references. */
function toJsonSchema(schema: z.ZodType): object {
  const { id, description } = z.globalRegistry.get(schema) ?? {};
  if (id !== undefined) return { $ref: `${COMPONENTS}${id}`, ...(description && { description }) };
  const { $schema: _, ...json } = z.toJSONSchema(schema, CONVERSION);
  return json;
}

/** All schemas that have a name. */
function components(): Record<string, object> {
  const { schemas } = z.toJSONSchema(z.globalRegistry, { ...CONVERSION, uri: (id) => COMPONENTS + id });
  return Object.fromEntries(
    Object.entries(schemas).map(([id, { $schema: _, $id: __, ...schema }]) => [id, schema]),
  );
}
