import { createHmac, timingSafeEqual } from "node:crypto";
import { textAnswer } from "./answer.ts";
import { foldName } from "./identity.ts";
import type { GuestIdentity, MetadataRequest, MetadataResponse } from "./types.ts";

/*
 * Tokens as in version 2 of EC2's instance metadata service (IMDSv2): a guest asks for one with a PUT, which a request forged through a
 * careless server in the guest can rarely be, and shows it with every request.
 *
 * Tokens are not kept. One says until when it holds, and its MAC (HMAC-SHA256) says that this agent made it for this guest; so
 * it holds in the next run of the agent as well, and making many of them costs no memory.
 */

/** Bytes of the key that tokens are made with. */
export const TOKEN_KEY_BYTES = 32;

/** Header field of a request that shows a token. Not for upstreams: it would let them speak for the guest. */
export const TOKEN_HEADER = "x-aws-ec2-metadata-token";
/** Header field of the request for a token, and of its answer: how long the token holds, in seconds. */
export const TTL_HEADER = "x-aws-ec2-metadata-token-ttl-seconds";

/** The longest that a token may hold, in seconds. */
export const MAX_TTL = 21_600;

const TOKEN_PATH = "latest/api/token";

/** First byte of a token; another one for each way of making them. */
const FORMAT = 1;
const EXPIRY_BYTES = 6;
const MAC_BYTES = 32;
const TOKEN_BYTES = 1 + EXPIRY_BYTES + MAC_BYTES;
/** A multiple of three bytes, so base64url fills every character and a token can be spelled in one way only. */
const TOKEN_SHAPE = new RegExp(`^[\\w-]{${(TOKEN_BYTES * 4) / 3}}$`);

/** What tokens are made with. */
export interface TokenKey {
  /** `TOKEN_KEY_BYTES` that nobody else knows, the same in every run. */
  secret: Uint8Array;
  /** Another one each time the host is started, when ifindexes begin anew. Holds no NUL. */
  bootId: string;
}

/**
 * Which guest a token is for. Names of interfaces come to be used again, so the instance counts where it is known, else which interface of that name it
 * was, and the MAC where it is known.
 */
export type TokenOwner = Pick<GuestIdentity, "interface" | "instanceId" | "ifindex" | "mac">;

/** A token for one guest; `expiry` in ms since 1970. */
export function makeToken(key: TokenKey, owner: TokenOwner, expiry: number): string {
  const stamp = Buffer.alloc(1 + EXPIRY_BYTES);
  stamp[0] = FORMAT;
  stamp.writeUIntBE(expiry, 1, EXPIRY_BYTES);
  return Buffer.concat([stamp, macOf(key, owner, stamp)]).toString("base64url");
}

/** Whether `token` was made with this key, for this guest, and holds at `now` (ms since 1970). Takes any text. */
export function isTokenValid(key: TokenKey, owner: TokenOwner, token: string, now: number): boolean {
  if (!TOKEN_SHAPE.test(token)) return false;
  const bytes = Buffer.from(token, "base64url");
  const stamp = bytes.subarray(0, 1 + EXPIRY_BYTES);
  return (
    timingSafeEqual(bytes.subarray(stamp.length), macOf(key, owner, stamp)) &&
    stamp[0] === FORMAT &&
    stamp.readUIntBE(1, EXPIRY_BYTES) > now
  );
}

/** None of what is put together holds a NUL, and no instance id is empty, so no two guests give the same bytes. */
function macOf({ secret, bootId }: TokenKey, owner: TokenOwner, stamp: Uint8Array): Buffer {
  const { interface: name, instanceId, ifindex = "", mac = "" } = owner;
  const instance = instanceId ?? `\0${bootId}\0${ifindex}\0${mac}`;
  return createHmac("sha256", secret).update(stamp).update(`${name}\0${instance}`).digest();
}

/** What the gate needs to know besides the request. */
export interface TokenGate {
  key: TokenKey;
  /** Whether guests must show a token where their interface does not say. */
  requireToken: boolean;
}

/**
 * Stands in front of whatever serves the metadata: the answer to a request for a token, or the refusal of a request with a wrong token or
 * without one; undefined where the request may go on. `now` gives ms since 1970.
 */
export function passTokenGate(
  { key, requireToken }: TokenGate,
  request: MetadataRequest,
  guest: GuestIdentity,
  now: () => number,
): MetadataResponse | undefined {
  if (request.names === TOKEN_PATH) return answerTokenRequest(key, request, guest, now());
  const token = request.headers.get(TOKEN_HEADER);
  if (token === undefined) return (guest.requireToken ?? requireToken) ? NO_TOKEN : undefined;
  // A client that shows a token relies on it being checked, wherever tokens are required or not.
  return isTokenValid(key, guest, token, now()) ? undefined : WRONG_TOKEN;
}

const NO_TOKEN = textAnswer(
  401,
  `a token is required: PUT /${TOKEN_PATH}, then send it as ${TOKEN_HEADER}\n`,
);
const WRONG_TOKEN = textAnswer(
  401,
  `the token is wrong or no longer holds: PUT /${TOKEN_PATH} for another\n`,
);
const PUT_ONLY = textAnswer(405, "only PUT gives a token\n", [["Allow", "PUT"]]);
const FORWARDED = textAnswer(403, "a request for a token must not come through a proxy (X-Forwarded-For)\n");
const WRONG_TTL = textAnswer(400, `expected one ${TTL_HEADER} of 1-${MAX_TTL}\n`);

function answerTokenRequest(
  key: TokenKey,
  { method, headers }: MetadataRequest,
  guest: GuestIdentity,
  now: number,
): MetadataResponse {
  if (method !== "PUT") return PUT_ONLY;
  if (isForwarded(headers)) return FORWARDED;
  const ttl = headers.get(TTL_HEADER);
  // Of one that is repeated, the values are joined by a comma, which is no digit.
  if (ttl === undefined || !/^[0-9]{1,5}$/.test(ttl)) return WRONG_TTL;
  const seconds = Number(ttl);
  if (seconds < 1 || seconds > MAX_TTL) return WRONG_TTL;
  return textAnswer(200, makeToken(key, guest, now + seconds * 1000), [[TTL_HEADER, ttl]]);
}

function isForwarded(headers: MetadataRequest["headers"]): boolean {
  for (const name of headers.keys()) if (foldName(name) === "x-forwarded-for") return true;
  return false;
}
