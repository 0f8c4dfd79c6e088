import { describe, expect, it } from "vitest";
import { formatConfigError, parseConfig } from "./load.ts";
import type { MetadataConfig } from "./metadata-service.ts";

/** The section as it is understood, or the errors without their place in the file. */
function read(metadata: object, service: object = {}): MetadataConfig | string[] {
  const services = [{ name: "metadata", address: "169.254.169.254", port: 80, kind: "metadata", ...service }];
  const text = JSON.stringify({ services, interfaces: [{ name: "tap0" }], metadata });
  const result = parseConfig(text, "f");
  return result.ok
    ? result.config.metadata
    : result.errors.map((error) => formatConfigError(error).replace(/^f:\d+:\d+: /, ""));
}

const UPSTREAM = "http://10.0.0.5:8775";

describe("the section metadata", () => {
  it.each([
    ["http://10.0.0.5", { tls: false, host: "10.0.0.5", port: 80 }],
    ["HTTPS://nova.example/", { tls: true, host: "nova.example", port: 443 }],
    ["https://[2001:db8::1]:8775", { tls: true, host: "2001:db8::1", port: 8775 }],
  ])("takes %s as an upstream", (url, expected) => {
    expect(read({ mode: "proxy", proxy: { upstream: url } })).toMatchObject({
      proxy: { upstream: [expected] },
    });
  });

  it.each([
    "10.0.0.5:8775",
    "ftp://10.0.0.5",
    "http://10.0.0.5/path",
    "http://10.0.0.5?query",
    "http://user@10.0.0.5",
    "http://10.0.0.256",
    "http://10.0.0.5:65536",
    "http://10.0.0.5:08",
    "http://",
    { list: [] },
    { list: [UPSTREAM, 7] },
    { list: Array.from({ length: 17 }, (_, index) => `http://10.0.0.${index + 1}`) },
    { list: ["http://10.0.0.5:443", "https://10.0.0.5"] },
  ])("does not take %j", (given) => {
    const upstream = typeof given === "string" ? given : given.list;
    expect(read({ mode: "proxy", proxy: { upstream } })).toEqual([
      expect.stringMatching(
        /^metadata\.proxy\.upstream: .* is not an upstream; expected an http or https URL/,
      ),
    ]);
  });

  it.each([
    [{ mode: "proxy" }, "metadata.proxy: missing; mode proxy expects proxy: { upstream: ... }"],
    [
      { proxy: { upstream: UPSTREAM, secret: "a", secretEnv: "A" } },
      "metadata.proxy.secretEnv: secret is given already; expected the secret in one place",
    ],
    [
      { proxy: { upstream: UPSTREAM, tls: { ca: "/ca" } } },
      "metadata.proxy.tls: no upstream is asked over TLS; expected an https URL, or no tls",
    ],
    [
      { proxy: { upstream: "https://a", tls: { cert: "/cert" } } },
      "metadata.proxy.tls.key: missing; expected cert and key together",
    ],
    [
      { proxy: { upstream: "https://a", tls: { key: "/key" } } },
      "metadata.proxy.tls.cert: missing; expected cert and key together",
    ],
    [
      { proxy: { upstream: UPSTREAM, timeouts: { idle: "5" } } },
      'metadata.proxy.timeouts.idle: "5" is not a duration; expected 100ms-10m, written like 500ms, 5s or 1m',
    ],
  ])("%j is wrong", (metadata, expected) => {
    expect(read(metadata)).toEqual([expected]);
  });

  it.each([["se\ncret"], [""], [7], [["secret"]], ["x".repeat(4097)]])(
    "does not quote a wrong secret, %j",
    (secret) => {
      expect(read({ proxy: { upstream: UPSTREAM, secret } })).toEqual([
        "metadata.proxy.secret: not a secret; expected a text of 1-4096 characters in one line, in quotes",
      ]);
    },
  );

  it("goes with services that have no backends, over TCP alone", () => {
    expect(read({}, { backends: ["127.0.0.1:1"], protocol: ["tcp", "udp"] })).toEqual([
      "services[0].backends: a service of kind metadata is served by the agent itself; expected none, or kind: nat for a server of your own",
      "services[0].protocol: a service of kind metadata speaks HTTP; expected tcp",
    ]);
  });
});
