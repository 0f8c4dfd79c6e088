/**
 * zod schemas as fastify's: what a route declares checks its input, types its handler, and stands in the OpenAPI document. Answers are not
 * filtered by their schema, so that a test can find one that does not fit.
 */
import type {
  FastifyInstance,
  FastifySchemaCompiler,
  FastifyServerOptions,
  FastifyTypeProvider,
  RawReplyDefaultExpression,
  RawRequestDefaultExpression,
  RawServerDefault,
} from "fastify";
import * as z from "zod";
import { toJson } from "./json.ts";

/** Types of handlers from their routes' zod schemas. */
export interface ZodTypes extends FastifyTypeProvider {
  validator: this["schema"] extends z.ZodType ? z.output<this["schema"]> : unknown;
  serializer: this["schema"] extends z.ZodType ? z.output<this["schema"]> : unknown;
}

/** A fastify server whose routes have zod schemas. */
export type ApiServer = FastifyInstance<
  RawServerDefault,
  RawRequestDefaultExpression,
  RawReplyDefaultExpression,
  import("fastify").FastifyBaseLogger,
  ZodTypes
>;

/** A flag of a query: there, or with a value. */
export const flag = z.enum(["", "true", "false"]).optional();

/** Whether a flag is set: `?flag` and `?flag=true`. */
export function isSet(value: z.output<typeof flag>): boolean {
  return value === "" || value === "true";
}

/**
 * Option of a fastify server whose routes have zod schemas. The compilers of JSON schemas that fastify brings are then not even loaded, which would
 * take longer than all the rest of making a server; its types know of those alone.
 */
export const ZOD_SCHEMAS = {
  compilersFactory: { buildValidator: () => validator, buildSerializer: () => () => toJson },
} as unknown as NonNullable<FastifyServerOptions["schemaController"]>;

/** What checks a part of a request by its zod schema. */
const validator: FastifySchemaCompiler<z.ZodType> =
  ({ schema, httpPart }) =>
  (input) => {
    const result = schema.safeParse(input);
    if (result.success) return { value: result.data };
    const known = schema instanceof z.ZodObject ? Object.keys(schema.shape) : [];
    return {
      error: new Error(result.error.issues.map((issue) => describe(issue, httpPart, known)).join("; ")),
    };
  };

/** For a route that takes its body as it came: the agent says what is wrong with it, as it does for the configuration. */
export const UNCHECKED = { validatorCompiler: () => (value: unknown) => ({ value }) };

/** An issue in words: which field, what is wrong. */
function describe(issue: z.core.$ZodIssue, part: string | undefined, known: readonly string[]): string {
  const field = `${part === "querystring" ? "query" : (part ?? "input")} field`;
  if (issue.code === "unrecognized_keys" && issue.path.length === 0) {
    const has = known.length === 0 ? "this path takes none" : `known here: ${known.join(", ")}`;
    return `unknown ${field} ${issue.keys.map((key) => JSON.stringify(key)).join(", ")}; ${has}`;
  }
  return `${field} ${JSON.stringify(issue.path.join("."))}: ${issue.message}`;
}
