import type { RequestHead } from "./http-request.ts";
import { normalizePath } from "./path.ts";
import { acceptsJson } from "./tree.ts";
import type { GuestIdentity } from "./types.ts";

/**
 * Whether a request is about tokens, credentials or passwords, so that the log is to say who made it: EC2's tokens, role and identity credentials, also as part of
 * a directory that is asked for as JSON, and OpenStack's password.
 */
export function isAudited({ path, fields }: Pick<RequestHead, "path" | "fields">): boolean {
  // Most paths are about nothing of the kind, and there is one with every request.
  if (!SUSPICIOUS.test(path)) return false;
  const normal = normalizePath(path)?.toLowerCase();
  // What cannot be read is not looked up either, but an upstream may read it.
  if (normal === undefined) return true;
  // Some servers take off parameters (RFC 3986 s. 3.3), or look for a query after decoding.
  const names = normal.split("/").map((name) => name.replace(/[;?#].*/s, ""));
  const known = names.filter((name) => name !== "").join("/");
  if (AUDITED.test(known)) return true;
  const isJson = () => fields.some(({ lower, value }) => lower === "accept" && acceptsJson(value));
  return ABOVE_CREDENTIALS.test(known) && isJson();
}

const SUSPICIOUS = /token|credential|password|[%;]|^\/[^/]*(\/(meta-data\/?(iam\/?)?)?)?$/i;
const AUDITED =
  /^[^/]+\/(api\/token|meta-data\/(iam\/security-credentials|identity-credentials)(\/.*)?|password)$|^openstack\/[^/]+\/password$/;
const ABOVE_CREDENTIALS = /^[^/]*(\/meta-data(\/iam)?)?$/;

/** A path in the log is cut to so many characters. */
const LOGGED_PATH = 200;

/** What the log says of such a request. */
export function auditLine(
  { interface: name, instanceId }: GuestIdentity,
  { method, path }: Pick<RequestHead, "method" | "path">,
  status: number,
): object {
  return { interface: name, instanceId, method, path: path.slice(0, LOGGED_PATH), status };
}
