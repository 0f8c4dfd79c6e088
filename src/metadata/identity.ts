import { createHmac } from "node:crypto";
import type { GuestIdentity } from "./types.ts";

/**
 * The fields that tell an upstream who asks, as lines of a request's head: X-Forwarded-For (the guest's own address), X-Instance-ID,
 * X-Tenant-ID (the project's UUID without dashes), each where it is known, and with a secret X-Instance-ID-Signature, the HMAC-SHA256 of the
 * instance's UUID in hex, as Nova checks it. Undefined for a guest without an instance: nobody can be asked about it.
 */
export function identityLines(guest: GuestIdentity, secret: string | undefined): string | undefined {
  const { instanceId, projectId, addresses } = guest;
  if (instanceId === undefined) return undefined;
  const lines = [`X-Instance-ID: ${instanceId}\r\n`];
  if (addresses[0] !== undefined) lines.push(`X-Forwarded-For: ${addresses[0]}\r\n`);
  if (projectId !== undefined) lines.push(`X-Tenant-ID: ${projectId.replaceAll("-", "")}\r\n`);
  if (secret !== undefined) {
    const signature = createHmac("sha256", secret).update(instanceId).digest("hex");
    lines.push(`X-Instance-ID-Signature: ${signature}\r\n`);
  }
  return lines.join("");
}

/**
 * Fields by which some server takes a client to be somebody: those that are set above, those by which Nova and Neutron's agents know an
 * instance, network or load balancer, what proxies and content networks say of a client, and what is set for an authenticated user.
 */
const IDENTITY_FIELDS: ReadonlySet<string> = new Set([
  "forwarded",
  "client-ip",
  "true-client-ip",
  "cf-connecting-ip",
  "fastly-client-ip",
  "remote-addr",
  "remote-user",
  "x-client-ip",
  "x-cluster-client-ip",
  "x-forwarded",
  "x-identity-status",
  "x-is-admin-project",
  "x-originating-ip",
  "x-real-ip",
  "x-remote-addr",
  "x-remote-ip",
  "x-remote-user",
  "x-role",
  "x-roles",
  "x-tenant",
  "x-user",
]);
const IDENTITY_PREFIXES = [
  "x-domain-",
  "x-forwarded-",
  "x-instance-",
  "x-metadata-",
  "x-neutron-",
  "x-original-",
  "x-ovn-",
  "x-project-",
  "x-provider-",
  "x-tenant-",
  "x-user-",
];

/** Fields by which some server takes the request for another one than its first line says; tokens and the audit go by that line. */
const REQUEST_FIELDS: ReadonlySet<string> = new Set([
  "x-http-method",
  "x-http-method-override",
  "x-method-override",
  "x-rewrite-url",
]);

/** Fields with which a connection is managed (RFC 9110 s. 7.6.1), and which the front therefore makes anew or leaves out. */
const CONNECTION_FIELDS: ReadonlySet<string> = new Set([
  "connection",
  "content-length",
  "expect",
  "host",
  "http2-settings",
  "keep-alive",
  "proxy",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/** Fields of IMDSv2, which the front deals with: its tokens are nobody else's. */
const TOKEN_FIELDS: ReadonlySet<string> = new Set([
  "x-aws-ec2-metadata-token",
  "x-aws-ec2-metadata-token-ttl-seconds",
]);

const REMOVED: ReadonlySet<string> = new Set([
  ...CONNECTION_FIELDS,
  ...TOKEN_FIELDS,
  ...IDENTITY_FIELDS,
  ...REQUEST_FIELDS,
]);

/** What a field's name, in lower case, may become where fields are handed on as variables (CGI, WSGI): such servers fold characters together. */
export function foldName(lower: string): string {
  return /[^a-z0-9-]/.test(lower) ? lower.replace(/[^a-z0-9]/g, "-") : lower;
}

/** Whether a field that a guest sent may reach an upstream. Its name counts as the one that it may become there. */
export function mayPass(lower: string): boolean {
  const folded = foldName(lower);
  if (REMOVED.has(folded)) return false;
  return !folded.startsWith("x-") || !IDENTITY_PREFIXES.some((prefix) => folded.startsWith(prefix));
}

/** Whether a field of a response may reach a guest: those that manage the connection are the front's own. */
export function mayReturn(lower: string): boolean {
  return !CONNECTION_FIELDS.has(lower);
}
