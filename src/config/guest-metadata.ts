import * as z from "zod";
import { isIpv4, parsePrefix } from "../packet/address.ts";
import { integer, list, section, text, value } from "./fields.ts";

/*
 * What an operator says about a guest for the builtin metadata service: in the configuration, in a file of its own, or over the API. It is
 * kept as it is written, so that it can be read back and patched; what guests get is made of it in src/metadata/.
 */

/** Any value that JSON can hold. */
export type Json = string | number | boolean | null | Json[] | JsonObject;
/** A map in JSON. Its names come from outside and may be anything, `__proto__` too: go by `Object.entries`. */
export type JsonObject = { [name: string]: Json };

/**
 * The most that what is said about one guest may take, as JSON, in characters. It has room for the user data, its base64 included, and
 * as much again; a thousand guests that use all of it take some hundred megabytes.
 */
export const MAX_DOCUMENT_LENGTH = 256 * 1024;
/** The most user data may take, in bytes: what OpenStack takes; EC2 takes 16 KiB. */
export const MAX_USER_DATA = 64 * 1024;
/** How deep maps and lists may lie in each other: what JSON.stringify and a walk of ours can always bear. */
export const MAX_DEPTH = 16;

const MAX_NAME = 255;

const hostname = text("a host name", "labels of letters, digits and hyphens like web.example", (name) =>
  isHostName(name) ? name : undefined,
);

const instanceId = text(
  "an instance id",
  "1-64 letters, digits, dots, dashes, underscores or colons",
  (id) => (/^[\w.:-]{1,64}$/.test(id) ? id : undefined),
);

/** Whether a text is a host name (RFC 1123 s. 2.1). */
export function isHostName(text: string): boolean {
  return (
    text.length <= 253 &&
    /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/i.test(text)
  );
}

/** A text that guests get as one line. */
function line(noun: string, expected: string) {
  return text(noun, `one line of at most ${MAX_NAME} characters, ${expected}`, (name) =>
    isLine(name) ? name : undefined,
  );
}

const publicKeys = value(
  "public keys",
  'a list of lines like "ssh-ed25519 AAAA... name", or a map from names to such lines',
  (input): string[] | Record<string, string> | undefined => {
    if (Array.isArray(input)) return input.every(isPublicKey) ? input : undefined;
    if (!isMap(input)) return undefined;
    const isEntry = ([name, key]: [string, unknown]) => /^[\w@.:+-]{1,255}$/.test(name) && isPublicKey(key);
    return Object.entries(input).every(isEntry) ? (input as Record<string, string>) : undefined;
  },
);

/** User data may hold passwords, so errors do not quote it. */
const userData = z.unknown().transform((input, context): string | { base64: string } => {
  const refuse = (message: string) => {
    context.addIssue(message);
    return z.NEVER;
  };
  const tooLong = `longer than ${MAX_USER_DATA} bytes; let it fetch the rest from elsewhere, or compress it`;
  if (typeof input === "string") return Buffer.byteLength(input) <= MAX_USER_DATA ? input : refuse(tooLong);
  const [only, ...others] = isMap(input) ? Object.entries(input) : [];
  if (only?.[0] !== "base64" || others.length > 0 || typeof only[1] !== "string") {
    return refuse("not user data; expected a text, or for binary { base64: ... }");
  }
  const [, base64] = only;
  if (base64.length > Math.ceil(MAX_USER_DATA / 3) * 4 + 4) return refuse(tooLong);
  const bytes = Buffer.from(base64, "base64");
  if (bytes.toString("base64") !== base64) return refuse("base64 is not base64 (RFC 4648 s. 4, in one line)");
  return bytes.length <= MAX_USER_DATA ? { base64 } : refuse(tooLong);
});

const tags = value(
  "tags",
  `a map from names to texts, each one line of at most ${MAX_NAME} characters, names without slash`,
  (input): Record<string, string> | undefined => {
    if (!isMap(input)) return undefined;
    const isEntry = ([name, tag]: [string, unknown]) => isTreeName(name) && isLine(tag);
    return Object.entries(input).every(isEntry) ? (input as Record<string, string>) : undefined;
  },
);

/** A text of a credential, which errors do not quote. */
const secret = z.unknown().transform((input, context): string => {
  if (typeof input === "string" && /^[!-~]{1,8192}$/.test(input)) return input;
  const expected = "expected a text of 1-8192 printable ASCII characters without spaces, in quotes";
  context.addIssue(input === undefined ? `missing; ${expected}` : expected);
  return z.NEVER;
});

const credentials = section({
  role: text("the name of a role", "1-64 letters, digits or + = , . @ _ -", (name) =>
    /^[\w+=,.@-]{1,64}$/.test(name) ? name : undefined,
  ),
  accessKeyId: secret,
  secretAccessKey: secret,
  token: secret,
  expiration: text("a time", 'in UTC like "2026-03-01T12:00:00Z"', (time) =>
    /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(time) && !Number.isNaN(Date.parse(time)) ? time : undefined,
  ),
});

const network = section({
  subnet: text("an IPv4 prefix", "one like 10.0.1.0/24, with no bits set beyond its length", (prefix) =>
    parsePrefix(prefix).ok ? prefix : undefined,
  ).optional(),
  // RFC 791 s. 3.2: every link carries 68 bytes.
  mtu: integer("an MTU", 68, 65_535).optional(),
  nameservers: list(
    "at least one IPv4 address",
    text("an IPv4 address", "one like 10.0.0.2", (address) => (isIpv4(address) ? address : undefined)),
  ).optional(),
});

const tree = value("a map", "with values that JSON can hold", (input): JsonObject | undefined =>
  isMap(input) && isTree(input) ? input : undefined,
);

/** The fields, each value by itself. `findSizeFault` comes first: without it, a value can hold itself or unfold without end. */
const fields = section({
  instanceId: instanceId.optional(),
  hostname: hostname.optional(),
  publicKeys: publicKeys.optional(),
  userData: userData.optional(),
  availabilityZone: line("an availability zone", "like nova").optional(),
  region: line("a region", "like eu-central-1").optional(),
  instanceType: line("an instance type", "like m1.small").optional(),
  imageId: line("the id of an image", "like ami-0abcdef").optional(),
  tags: tags.optional(),
  credentials: credentials.optional(),
  network: network.optional(),
  ec2: section({ "meta-data": tree.optional(), dynamic: tree.optional() }).optional(),
  openstack: section({
    "meta_data.json": tree.optional(),
    "network_data.json": tree.optional(),
    "vendor_data.json": tree.optional(),
    "vendor_data2.json": tree.optional(),
  }).optional(),
});

/** What is said about a guest, checked; its output is the input. */
export const guestMetadataSchema = z
  .unknown()
  .superRefine((input, context) => {
    const message = findSizeFault(input);
    if (message !== undefined) context.addIssue({ code: "custom", message, fatal: true });
  })
  .pipe(fields);

/** What an operator says about a guest. Every field may be absent. */
export type GuestMetadata = z.output<typeof guestMetadataSchema>;

/** Why a value of any kind, even one that holds itself, is too deep or too large, if it is; looks no further than it must. */
export function findSizeFault(input: unknown): string | undefined {
  let left = MAX_DOCUMENT_LENGTH;
  const fits = (value: unknown, depth: number): boolean => {
    if (depth > MAX_DEPTH) return false;
    left -= typeof value === "string" ? value.length + 2 : 2;
    if (left < 0) return false;
    if (Array.isArray(value)) return value.every((item) => fits(item, depth + 1));
    if (!isMap(value)) return true;
    return Object.entries(value).every(([name, item]) => {
      left -= name.length + 4;
      return fits(item, depth + 1);
    });
  };
  if (fits(input, 0)) return undefined;
  return `more than ${MAX_DOCUMENT_LENGTH} characters or maps in more than ${MAX_DEPTH} others; expected less about one guest`;
}

/** Whether all of a value, which is not too deep, is JSON, with names that can stand in a path. */
function isTree(input: unknown): input is Json {
  if (Array.isArray(input)) return input.every(isTree);
  if (isMap(input)) {
    return Object.entries(input).every(([name, item]) => isTreeName(name) && isTree(item));
  }
  return input === null || ["string", "boolean"].includes(typeof input) || Number.isFinite(input);
}

/** Whether a name can be one between two slashes of a path and one line of a listing. */
function isTreeName(name: string): boolean {
  return isLine(name) && !name.includes("/") && name !== "." && name !== "..";
}

function isLine(input: unknown): input is string {
  return typeof input === "string" && input.length <= MAX_NAME && /^\P{Cc}+$/u.test(input);
}

function isPublicKey(input: unknown): input is string {
  return typeof input === "string" && input.length <= 16_384 && /^\P{Cc}+ \P{Cc}+$/u.test(input);
}

function isMap(input: unknown): input is JsonObject {
  return typeof input === "object" && input !== null && !Array.isArray(input);
}
