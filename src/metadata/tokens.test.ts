import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { normalizePath } from "./path.ts";
import {
  isTokenValid,
  MAX_TTL,
  makeToken,
  passTokenGate,
  TOKEN_KEY_BYTES,
  type TokenOwner,
} from "./tokens.ts";
import type { GuestIdentity, MetadataRequest } from "./types.ts";

const key = { secret: Buffer.alloc(TOKEN_KEY_BYTES, 1), bootId: "boot-1" };
const now = Date.UTC(2026, 0, 1);
const web: GuestIdentity = { interface: "tap0", metadataAddress: "169.254.64.2", addresses: [] };

function request(method: string, path: string, headers: Record<string, string> = {}): MetadataRequest {
  return {
    method,
    path,
    names: normalizePath(path),
    query: "",
    headers: new Map(Object.entries(headers)),
    body: new Uint8Array(),
  };
}

function ask(
  method: string,
  path: string,
  headers: Record<string, string> = {},
  { guest = web, requireToken = true, at = now } = {},
) {
  return passTokenGate({ key, requireToken }, request(method, path, headers), guest, () => at);
}

const ttl = "x-aws-ec2-metadata-token-ttl-seconds";
const shown = "x-aws-ec2-metadata-token";

describe("a token", () => {
  /** Few names, so that two of them often share one. */
  const owners: fc.Arbitrary<TokenOwner> = fc.record(
    {
      interface: fc.constantFrom("tap0", "tap01", "tap"),
      instanceId: fc.constantFrom(
        "6f3a0a3e-3b1c-4f0e-9a53-000000000001",
        "6f3a0a3e-3b1c-4f0e-9a53-000000000002",
      ),
    },
    { requiredKeys: ["interface"] },
  );

  test("holds for its guest until it expires, and not from then on", () => {
    fc.assert(
      fc.property(owners, fc.integer({ min: 1, max: 2 ** 48 - 1 }), (owner, expiry) => {
        const token = makeToken(key, owner, expiry);
        expect(isTokenValid(key, owner, token, expiry - 1)).toBe(true);
        expect(isTokenValid(key, owner, token, expiry)).toBe(false);
      }),
    );
  });

  test("is no other guest's, and no other agent's", () => {
    fc.assert(
      fc.property(owners, owners, (owner, other) => {
        fc.pre(owner.interface !== other.interface || owner.instanceId !== other.instanceId);
        const token = makeToken(key, owner, now + 1000);
        expect(isTokenValid(key, other, token, now)).toBe(false);
        expect(isTokenValid({ ...key, secret: Buffer.alloc(TOKEN_KEY_BYTES, 2) }, owner, token, now)).toBe(
          false,
        );
      }),
    );
  });

  test("of a guest without an instance is not that of the next one on an interface of the same name", () => {
    const first: TokenOwner = { interface: "tap0", ifindex: 7, mac: "02:00:0a:00:01:03" };
    const token = makeToken(key, first, now + 1000);
    expect(isTokenValid(key, { ...first }, token, now)).toBe(true);
    expect(isTokenValid(key, { ...first, ifindex: 8 }, token, now)).toBe(false);
    expect(isTokenValid(key, { ...first, mac: "02:00:0a:00:01:04" }, token, now)).toBe(false);
    expect(isTokenValid({ ...key, bootId: "boot-2" }, first, token, now)).toBe(false);
  });

  test("of an instance holds wherever its interface is made anew", () => {
    const owner: TokenOwner = {
      interface: "tap0",
      instanceId: "6f3a0a3e-3b1c-4f0e-9a53-000000000001",
      ifindex: 7,
    };
    const token = makeToken(key, owner, now + 1000);
    expect(isTokenValid({ ...key, bootId: "boot-2" }, { ...owner, ifindex: 8 }, token, now)).toBe(true);
  });

  test("does not hold with any one character changed", () => {
    const token = makeToken(key, web, now + 1000);
    for (let at = 0; at < token.length; at++) {
      const other = token[at] === "A" ? "B" : "A";
      expect(isTokenValid(key, web, token.slice(0, at) + other + token.slice(at + 1), now)).toBe(false);
    }
  });

  test("is not any text", () => {
    fc.assert(fc.property(fc.string(), (text) => !isTokenValid(key, web, text, now)));
    fc.assert(fc.property(fc.base64String(), (text) => !isTokenValid(key, web, text, now)));
  });
});

describe("PUT /latest/api/token", () => {
  test.each(["/latest/api/token", "//latest/api/token", "/latest//api/token/", "/latest/%61pi/token"])(
    "gives a token at %s",
    (path) => {
      const answer = ask("PUT", path, { [ttl]: "60" });
      expect(answer).toMatchObject({
        status: 200,
        headers: [
          ["Content-Type", "text/plain"],
          [ttl, "60"],
        ],
      });
      const token = String(answer?.body);
      expect(ask("GET", "/latest/meta-data/", { [shown]: token }, { at: now + 59_999 })).toBeUndefined();
      expect(ask("GET", "/latest/meta-data/", { [shown]: token }, { at: now + 60_000 })?.status).toBe(401);
    },
  );

  test("gives one where none is required, too", () => {
    expect(ask("PUT", "/latest/api/token", { [ttl]: "60" }, { requireToken: false })?.status).toBe(200);
  });

  test.each([undefined, "", "0", "21601", "-1", "1.5", "1e3", "60, 60", "0x10", "999999"])(
    "answers 400 to a TTL of %s",
    (value) => {
      expect(ask("PUT", "/latest/api/token", value === undefined ? {} : { [ttl]: value })?.status).toBe(400);
    },
  );

  test.each(["1", String(MAX_TTL)])("takes a TTL of %s", (value) => {
    expect(ask("PUT", "/latest/api/token", { [ttl]: value })?.status).toBe(200);
  });

  test.each(["x-forwarded-for", "x_forwarded_for", "x-forwarded_for", "x.forwarded-for"])(
    "answers 403 with %s",
    (name) => {
      expect(ask("PUT", "/latest/api/token", { [ttl]: "60", [name]: "" })?.status).toBe(403);
    },
  );

  test.each(["GET", "HEAD", "POST", "DELETE"])("is the only method there: 405 to %s", (method) => {
    const answer = ask(method, "/latest/api/token", { [ttl]: "60" }, { requireToken: false });
    expect(answer).toMatchObject({ status: 405, headers: expect.arrayContaining([["Allow", "PUT"]]) });
  });
});

describe("any other request", () => {
  test("needs a token where its interface, or else the service, says so", () => {
    const strict = { ...web, requireToken: true };
    const lax = { ...web, requireToken: false };
    const status = (guest: GuestIdentity, requireToken: boolean) =>
      ask("GET", "/latest/meta-data/", {}, { guest, requireToken })?.status;
    expect(status(web, true)).toBe(401);
    expect(status(web, false)).toBeUndefined();
    expect(status(strict, false)).toBe(401);
    expect(status(lax, true)).toBeUndefined();
  });

  test.each(["GET", "HEAD", "POST", "PUT", "DELETE"])("%s needs one, wherever it goes", (method) => {
    for (const path of ["/", "/openstack/latest/password", "/latest/api/token/x", "/2021-03-23/api/token"]) {
      expect(ask(method, path)?.status, path).toBe(401);
    }
  });

  test("with a wrong token gets 401 where none is required, too", () => {
    for (const token of ["", "x", makeToken(key, { interface: "tap1" }, now + 1000)]) {
      expect(ask("GET", "/", { [shown]: token }, { requireToken: false })?.status).toBe(401);
    }
  });

  test("with two tokens gets 401: which one counts would be anybody's guess", () => {
    const token = makeToken(key, web, now + 1000);
    expect(ask("GET", "/", { [shown]: `${token}, ${token}` })?.status).toBe(401);
  });
});
