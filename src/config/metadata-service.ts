import * as z from "zod";
import { isIpv4 } from "../packet/address.ts";
import { absolutePath, choice, duration, integer, section, text, value } from "./fields.ts";

/* The section `metadata`: the metadata service that services of kind metadata lead to. */

/** A server that the metadata service sends requests on to. */
export interface UpstreamUrl {
  tls: boolean;
  /** A name or an address, without brackets. */
  host: string;
  port: number;
}

const MAX_PATH = 4095;
const MAX_UPSTREAMS = 16;

const upstreams = value(
  "an upstream",
  `an http or https URL without path, like "http://10.0.0.5:8775", or a list of 1-${MAX_UPSTREAMS} different ones`,
  (input): UpstreamUrl[] | undefined => {
    const urls: unknown[] = Array.isArray(input) ? input : [input];
    const parsed = urls.map(parseUpstream);
    // By host and port they are known in the metrics.
    const places = new Set(parsed.map((url) => `${url?.host}:${url?.port}`));
    const isList = parsed.length > 0 && parsed.length <= MAX_UPSTREAMS && places.size === parsed.length;
    return isList && parsed.every((url) => url !== undefined) ? parsed : undefined;
  },
);

function parseUpstream(input: unknown): UpstreamUrl | undefined {
  if (typeof input !== "string") return undefined;
  // URL itself would mend what is wrong with an address, and drop a port that is the scheme's own.
  const [, scheme, host, digits] =
    /^(https?):\/\/([\w.-]+|\[[\da-f:.]+\])(?::([1-9]\d{0,4}))?\/?$/i.exec(input) ?? [];
  if (scheme === undefined || host === undefined || !URL.canParse(input)) return undefined;
  const tls = scheme.toLowerCase() === "https";
  const port = digits === undefined ? (tls ? 443 : 80) : Number(digits);
  if (port > 65_535 || (/^[\d.]+$/.test(host) && !isIpv4(host))) return undefined;
  return { tls, host: host.replace(/^\[|\]$/g, ""), port };
}

/** A secret in the file itself: no message quotes it. */
const secret = z.unknown().transform((input, context): string => {
  if (typeof input === "string" && isSecret(input)) return input;
  context.addIssue("not a secret; expected a text of 1-4096 characters in one line, in quotes");
  return z.NEVER;
});

/** Whether the text can be a shared secret: what is left of a file whose last line end was taken off, for one. */
export function isSecret(input: string): boolean {
  return input.length > 0 && input.length <= 4096 && /^\P{Cc}+$/u.test(input);
}

const file = absolutePath(MAX_PATH);

/** Whom to trust and what to show where an upstream is asked over TLS; all files in PEM. */
const tlsSchema = section({
  ca: file.optional(),
  cert: file.optional(),
  key: file.optional(),
});

const timeoutsSchema = section({
  connect: duration("100ms", "1m").default(5000),
  firstByte: duration("100ms", "10m").default(30_000),
  idle: duration("100ms", "10m").default(30_000),
});

/** `metadata.proxy`: where requests are sent on to, and how it is told who asks. */
export const proxySchema = section({
  upstream: upstreams,
  secret: secret.optional(),
  secretFile: file.optional(),
  secretEnv: text("the name of an environment variable", "one like ONLINK_METADATA_SECRET", (name) =>
    /^[A-Za-z_]\w{0,254}$/.test(name) ? name : undefined,
  ).optional(),
  tls: tlsSchema.optional(),
  timeouts: timeoutsSchema.prefault({}),
  connections: integer("a number of connections", 1, 10_000).default(256),
});

const metadataLimitsSchema = section({
  connections: integer("a number of connections", 1, 100_000).default(4096),
  connectionsPerGuest: integer("a number of connections", 1, 10_000).default(64),
  requestsInFlight: integer("a number of requests", 1, 10_000).default(16),
  requestsPerSecond: integer("a number of requests", 1, 1_000_000).default(200),
  bodyBytes: integer("a number of bytes", 0, 1_000_000_000).default(1_048_576),
});

/** The section `metadata`. */
export const metadataSchema = section({
  mode: choice("a mode", ["builtin", "proxy"]).default("builtin"),
  port: integer("a port", 1, 65_535).default(9697),
  requireToken: value("a switch", "true or false", (input) =>
    typeof input === "boolean" ? input : undefined,
  ).default(false),
  builtin: section({ directory: absolutePath(MAX_PATH).optional() }).prefault({}),
  proxy: proxySchema.optional(),
  limits: metadataLimitsSchema.prefault({}),
});

/** The section `metadata`, checked and with every default filled in; durations in ms. */
export type MetadataConfig = z.output<typeof metadataSchema>;
/** `metadata.proxy`. */
export type ProxyConfig = NonNullable<MetadataConfig["proxy"]>;
