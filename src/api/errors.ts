import { STATUS_CODES } from "node:http";
import type { FastifyError, FastifyInstance } from "fastify";
import * as z from "zod";

/** The body of every answer that is not a success. */
export const errorSchema = z
  .strictObject({
    statusCode: z.int().min(400).max(599),
    error: z.string().describe("The name of the status code (RFC 9110)."),
    message: z.string().describe("What is wrong, and the mend."),
  })
  .meta({ id: "Error", description: "What is wrong." });

/** For the `response` of every route. */
export const ERRORS = { "4xx": errorSchema, "5xx": errorSchema } as const;

/** An error that a handler throws: its message is for the client. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly statusCode: number;
  constructor(statusCode: number, message: string) {
    super(message);
    this.statusCode = statusCode;
  }
}

/** Gives all errors of a server their form, paths that it does not have included. */
export function setErrorForm(server: FastifyInstance): void {
  server.setErrorHandler((error: FastifyError, _request, reply) =>
    reply.status(error.statusCode ?? 500).send(errorBody(error.statusCode ?? 500, error.message)),
  );
  server.setNotFoundHandler(({ method, url }, reply) =>
    reply
      .status(404)
      .send(errorBody(404, `no ${method} ${url.split("?", 1)[0]}; GET /v1/openapi.json has what there is`)),
  );
}

function errorBody(statusCode: number, message: string): z.output<typeof errorSchema> {
  return { statusCode, error: STATUS_CODES[statusCode] ?? "Unknown", message };
}
