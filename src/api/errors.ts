import { STATUS_CODES } from "node:http";
import type { FastifyError, FastifyInstance } from "fastify";
import * as z from "zod";
import type { FieldError } from "../config/registration.ts";

/** The body of every answer that is not a success. */
export const errorSchema = z
  .strictObject({
    statusCode: z.int().min(400).max(599),
    error: z.string().describe("The name of the status code (RFC 9110)."),
    message: z.string().describe("What is wrong, and the mend."),
    errors: z
      .array(z.strictObject({ field: z.string(), message: z.string() }))
      .optional()
      .describe("Where fields are wrong: each by itself."),
  })
  .meta({ id: "Error", description: "What is wrong." });

/** The body of every answer that is not a success. */
export type ErrorBody = z.output<typeof errorSchema>;

/** For the `response` of every route. */
export const ERRORS = { "4xx": errorSchema, "5xx": errorSchema } as const;

/** An error that a handler throws: its message is for the client. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly statusCode: number;
  readonly errors: readonly FieldError[] | undefined;
  constructor(statusCode: number, message: string, errors?: readonly FieldError[]) {
    super(message);
    this.statusCode = statusCode;
    this.errors = errors;
  }
}

/** Gives all errors of a server their form, paths that it does not have included. */
export function setErrorForm(server: FastifyInstance): void {
  server.setErrorHandler((error: FastifyError | ApiError, _request, reply) => {
    const { statusCode = 500, message } = error;
    const errors = error instanceof ApiError ? error.errors : undefined;
    return reply.status(statusCode).send({ ...errorBody(statusCode, message), ...(errors && { errors }) });
  });
  server.setNotFoundHandler(({ method, url }, reply) =>
    reply
      .status(404)
      .send(errorBody(404, `no ${method} ${url.split("?", 1)[0]}; GET /v1/openapi.json has what there is`)),
  );
}

function errorBody(statusCode: number, message: string): ErrorBody {
  return { statusCode, error: STATUS_CODES[statusCode] ?? "Unknown", message };
}
