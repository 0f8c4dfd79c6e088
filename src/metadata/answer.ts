import type { MetadataResponse } from "./types.ts";

/** An answer in plain text; for one that refuses, a sentence that says why. */
export function textAnswer(
  status: number,
  text: string,
  headers: MetadataResponse["headers"] = [],
): MetadataResponse {
  return { status, headers: [["Content-Type", "text/plain"], ...headers], body: text };
}
