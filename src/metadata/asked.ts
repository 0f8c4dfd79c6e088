import { isAudited } from "./audit.ts";
import type { RequestHead } from "./http-request.ts";
import { normalizePath } from "./path.ts";
import type { MetadataRequest } from "./types.ts";

const EMPTY = new Uint8Array(0);

/** What a head asks for, and whether that is audited. */
export interface Asked {
  request: MetadataRequest;
  isAudited: boolean;
}

/** Kept, since the head of a connection's next request is the same object where its text is the same. */
const known = new WeakMap<RequestHead, Asked>();

/** See `Asked`. */
export function askedBy(head: RequestHead): Asked {
  let asked = known.get(head);
  if (asked === undefined) {
    asked = { request: requestOf(head), isAudited: isAudited(head) };
    known.set(head, asked);
  }
  return asked;
}

function requestOf({ method, path, query, fields }: RequestHead): MetadataRequest {
  const headers = new Map<string, string>();
  for (const { lower, value } of fields) {
    const before = headers.get(lower);
    headers.set(lower, before === undefined ? value : `${before}, ${value}`);
  }
  return { method, path, names: normalizePath(path), query: query ?? "", headers, body: EMPTY };
}
