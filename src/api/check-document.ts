/** Holds answers of the API to the document that it serves; for tests. */
import { Ajv2020 } from "ajv/dist/2020.js";

/** Says what is wrong with an answer, as text; undefined: nothing, it is as the document has it. */
export type CheckAnswer = (method: string, path: string, status: number, body: unknown) => string | undefined;

/** A document of OpenAPI 3.1, as far as it is looked at here: paths, methods, answers. */
export interface OpenApiDocument {
  openapi: string;
  paths: Record<string, Record<string, { responses: Record<string, { content: Record<string, object> }> }>>;
  components: { schemas: Record<string, object> };
}

/** `path` as the document has it, with `{name}` for what changes. */
export function answerChecker(document: OpenApiDocument): CheckAnswer {
  // `strict`: a keyword that nobody knows checks nothing. Formats are words to the reader alone.
  const ajv = new Ajv2020({
    strict: true,
    strictRequired: false,
    allowUnionTypes: true,
    allErrors: true,
    validateFormats: false,
  });
  ajv.addKeyword("components");
  ajv.addSchema({ $id: "document:", components: document.components });
  return (method, path, status, body) => {
    const responses = document.paths[path]?.[method.toLowerCase()]?.responses;
    const key = responses && [`${status}`, `${Math.floor(status / 100)}XX`].find((one) => one in responses);
    if (key === undefined) return `the document has no ${method} ${path} with ${status}`;
    const type = typeof body === "string" ? "text" : "application/json";
    const media = Object.entries(responses?.[key]?.content ?? {}).find(([name]) => name.startsWith(type));
    if (media === undefined) return `the document has no ${type} for ${method} ${path} with ${status}`;
    const { schema } = media[1] as { schema: object };
    const validate = ajv.compile(JSON.parse(JSON.stringify(schema).replaceAll('"#/', '"document:#/')));
    return validate(body) ? undefined : `${method} ${path}: ${ajv.errorsText(validate.errors)}`;
  };
}
