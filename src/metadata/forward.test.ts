import { createHmac } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type GuestHop, guestHead, interimHead, upstreamHead } from "./forward.ts";
import { type RequestHead, readRequestHead } from "./http-request.ts";
import { type ResponseHead, readResponseHead } from "./http-response.ts";
import { identityLines } from "./identity.ts";

const IDENTITY = "X-Instance-ID: 1\r\n";

function requestHead(fields: string, line = "GET /a?b HTTP/1.1"): RequestHead {
  const head = readRequestHead(`${line}\r\nHost: x\r\n${fields}\r\n`);
  if ("reason" in head) throw new Error(head.reason);
  return head;
}

function sent(fields: string, line?: string): string {
  return upstreamHead(requestHead(fields, line), "10.0.0.5:8775", IDENTITY).toString("latin1");
}

function returned(head: ResponseHead, hop: GuestHop): { text: string; chunked: boolean } {
  const { bytes, chunked } = guestHead(head, hop);
  return { text: bytes.toString("latin1"), chunked };
}

const KNOWN = "GET /a?b HTTP/1.1\r\nHost: 10.0.0.5:8775\r\n";

describe("what an upstream gets", () => {
  it("has the guest's fields as they were sent, and the identity", () => {
    expect(sent("User-Agent:  curl\r\naccept: */*\r\nX-Aws: y\r\n")).toBe(
      `${KNOWN}User-Agent:  curl\r\naccept: */*\r\nX-Aws: y\r\n${IDENTITY}\r\n`,
    );
  });

  const NAMES = [
    "X-Forwarded",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Instance-ID",
    "X-Instance-ID-Signature",
    "X-Tenant-ID",
    "X-Project-ID",
    "X-Provider-Signature",
    "X-Metadata-Provider",
    "X-Metadata-Provider-Signature",
    "X-Neutron-Network-ID",
    "X-OVN-Network-ID",
    "X-Real-IP",
    "Forwarded",
    "Remote-User",
    "X-User",
    "X-User-ID",
    "X-Roles",
    "X-Identity-Status",
    "X-Original-URL",
    "X-Rewrite-URL",
    "X-HTTP-Method-Override",
    "X-Aws-Ec2-Metadata-Token",
    "Proxy",
    "Proxy-Authorization",
    "Keep-Alive",
    "Upgrade",
    "TE",
    "Trailer",
  ];
  it("has none of the fields by which a guest could be taken for another, in any case, number and folding", () => {
    const name = fc
      .tuple(fc.constantFrom(...NAMES), fc.array(fc.boolean(), { minLength: 40, maxLength: 40 }))
      .chain(([text, capitals]) =>
        fc
          .array(fc.constantFrom("-", "_", ".", "~"), { minLength: 10, maxLength: 10 })
          .map((hyphens) =>
            [...text.replaceAll("-", () => hyphens.pop() ?? "_")]
              .map((letter, i) => (capitals[i] ? letter.toUpperCase() : letter.toLowerCase()))
              .join(""),
          ),
      );
    fc.assert(
      fc.property(fc.array(name, { maxLength: 8 }), (names) => {
        const fields = names.map((one) => `${one}: evil\r\n`).join("");
        expect(sent(`A: 1\r\n${fields}B: 2\r\n`)).toBe(`${KNOWN}A: 1\r\nB: 2\r\n${IDENTITY}\r\n`);
      }),
    );
  });

  it("has none of the fields that Connection names, and the identity whatever it names", () => {
    expect(sent("Connection: close, X-Some, Host, X-Instance-ID\r\nX-Some: y\r\nX-Other: z\r\n")).toBe(
      `${KNOWN}X-Other: z\r\n${IDENTITY}\r\n`,
    );
  });

  it("has the framing made anew", () => {
    const end = (fields: string, line?: string) => sent(fields, line).split(IDENTITY)[1];
    expect(end("Content-Length: 007\r\n", "POST / HTTP/1.1")).toBe("Content-Length: 7\r\n\r\n");
    expect(end("", "PUT / HTTP/1.1")).toBe("Content-Length: 0\r\n\r\n");
    expect(end("", "DELETE / HTTP/1.1")).toBe("\r\n");
    expect(end("Transfer-Encoding: CHUNKED\r\n", "PUT / HTTP/1.1")).toBe(
      "Transfer-Encoding: chunked\r\n\r\n",
    );
    expect(end("Expect: 100-continue\r\nContent-Length: 1\r\n", "PUT / HTTP/1.1")).toBe(
      "Expect: 100-continue\r\nContent-Length: 1\r\n\r\n",
    );
    expect(sent("", "GET http://other/x HTTP/1.1")).toBe(
      `GET /x HTTP/1.1\r\nHost: 10.0.0.5:8775\r\n${IDENTITY}\r\n`,
    );
  });
});

describe("a head that is sent again", () => {
  it("goes to the upstream that is asked now, for the guest that asks now", () => {
    const head = requestHead("");
    const ways = [
      ["10.0.0.5:8775", IDENTITY],
      ["10.0.0.6:8775", IDENTITY],
      ["10.0.0.6:8775", "X-Instance-ID: 2\r\n"],
      ["10.0.0.5:8775", IDENTITY],
    ] as const;
    for (const [host, identity] of [...ways, ...ways]) {
      expect(upstreamHead(head, host, identity).toString("latin1")).toBe(
        `GET /a?b HTTP/1.1\r\nHost: ${host}\r\n${identity}\r\n`,
      );
    }
  });

  it("comes back as the connection is now", () => {
    const head = readResponseHead(
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
      "GET",
    ) as ResponseHead;
    const hops = (["1.0", "1.1"] as const).flatMap((version) =>
      [true, false].map((keepAlive) => ({ version, method: "GET", keepAlive })),
    );
    for (const hop of [...hops, ...hops.toReversed()]) {
      const { text, chunked } = returned(head, hop);
      expect(chunked).toBe(hop.version === "1.1");
      expect(text.includes("Transfer-Encoding: chunked\r\n")).toBe(chunked);
      expect(text.includes("Connection: close\r\n")).toBe(!hop.keepAlive);
    }
  });
});

describe("what a guest gets", () => {
  const responseHead = (text: string, method = "GET"): ResponseHead => {
    const head = readResponseHead(text, method);
    if ("reason" in head) throw new Error(head.reason);
    return head;
  };
  const hop = { version: "1.1", method: "GET", keepAlive: true } as const;

  it("has the upstream's fields without those of its connection", () => {
    const head = responseHead(
      "HTTP/1.1 200 Fine\r\nServer: x\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nContent-Length: 2\r\n\r\n",
    );
    expect(returned(head, hop)).toEqual({
      text: "HTTP/1.1 200 Fine\r\nServer: x\r\nContent-Length: 2\r\n\r\n",
      chunked: false,
    });
    expect(returned(head, { ...hop, keepAlive: false }).text).toContain("Connection: close\r\n");
  });

  it("comes in chunks where its length is not known, except in HTTP/1.0", () => {
    for (const fields of ["Transfer-Encoding: chunked\r\n", ""]) {
      const head = responseHead(`HTTP/1.1 200 OK\r\n${fields}\r\n`);
      expect(returned(head, hop)).toEqual({
        text: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        chunked: true,
      });
      const old = returned(head, { ...hop, version: "1.0", keepAlive: false });
      expect(old).toEqual({ text: "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", chunked: false });
    }
  });

  it("says with HEAD and 304 how long a body would be, and with 204 nothing", () => {
    const ofHead = responseHead("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", "HEAD");
    expect(returned(ofHead, hop)).toEqual({
      text: "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
      chunked: false,
    });
    expect(returned(responseHead("HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n"), hop).text).toBe(
      "HTTP/1.1 204 No\r\n\r\n",
    );
    expect(interimHead(responseHead("HTTP/1.1 100 Continue\r\n\r\n"))).toBe("HTTP/1.1 100 Continue\r\n\r\n");
  });
});

describe("the identity", () => {
  const guest = {
    interface: "tap0",
    metadataAddress: "169.254.64.2",
    instanceId: "6f3a0a3e-3b1c-4f0e-9a53-1f3a6a1d2c11",
    projectId: "0f7c1e0a-5b52-4f3e-8a0e-6d4f0b7a9e21",
    addresses: ["10.0.1.3", "10.0.1.4"],
  };

  it("is instance, first address, project without dashes, and the signature that Nova computes", () => {
    const signature = createHmac("sha256", "s3cret").update(guest.instanceId).digest("hex");
    expect(identityLines(guest, "s3cret")?.split("\r\n").sort()).toEqual([
      "",
      "X-Forwarded-For: 10.0.1.3",
      `X-Instance-ID-Signature: ${signature}`,
      `X-Instance-ID: ${guest.instanceId}`,
      "X-Tenant-ID: 0f7c1e0a5b524f3e8a0e6d4f0b7a9e21",
    ]);
  });

  it("has what is known, and is none without an instance", () => {
    const { instanceId, interface: name, metadataAddress } = guest;
    const bare = { interface: name, metadataAddress, addresses: [] };
    expect(identityLines({ ...bare, instanceId }, undefined)).toBe(`X-Instance-ID: ${instanceId}\r\n`);
    expect(identityLines(bare, "s3cret")).toBeUndefined();
  });
});
