/** The service on the loopback: guests are told apart by their 127.0.0.x, as on a host by their metadata address. */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { expect, test } from "vitest";
import { freePort } from "../linux/testing.ts";
import type { ProxySettings } from "./settings.ts";
import {
  bodyOf,
  CLOSE,
  echo,
  exchange,
  GET,
  GUESTS,
  guestSocket,
  httpUpstream,
  LIMITS,
  rawUpstream,
  start,
  statusOf,
} from "./testing.ts";
import type { GuestIdentity } from "./types.ts";

test("requests of all methods reach the upstream, one after the other on one connection", async () => {
  const { server, address } = await httpUpstream(echo);
  let connections = 0;
  server.on("connection", () => connections++);
  const { port } = await start({ proxy: { upstreams: [address] } });
  const guest = guestSocket(port);
  for (const method of ["GET", "POST", "PUT", "DELETE", "HEAD"]) {
    guest.send(`${method} /${method}?q HTTP/1.1\r\nHost: x\r\n\r\n`);
  }
  guest.send(GET("/last", CLOSE));
  const answers = await guest.closed();
  const seen = [...answers.matchAll(/\{.*?"hash":"\w+"\}/g)].map(([json]) => JSON.parse(json));
  expect(seen.map(({ method, url }) => `${method} ${url}`)).toEqual([
    "GET /GET?q",
    "POST /POST?q",
    "PUT /PUT?q",
    "DELETE /DELETE?q",
    "GET /last",
  ]);
  expect(answers.match(/HTTP\/1.1 200 OK/g)).toHaveLength(6);
  // What may not be sent twice has a connection that none was sent on.
  expect(connections).toBe(2);
});

test("bodies pass in both directions, with a length and in chunks, larger than any buffer", async () => {
  const body = randomBytes(5_000_000);
  const { address } = await httpUpstream((request, response) => {
    if (request.url === "/length") response.setHeader("Content-Length", request.headers["x-length"] ?? "0");
    request.pipe(response);
  });
  const { port } = await start({ proxy: { upstreams: [address] } });
  const head = `Host: x\r\nX-Length: ${body.length}\r\n${CLOSE}`;
  const chunks = [0, 1, 2, 3, 4].flatMap((i) => {
    const chunk = body.subarray(i * 1_000_000, (i + 1) * 1_000_000);
    return [Buffer.from(`${chunk.length.toString(16)}\r\n`), chunk, Buffer.from("\r\n")];
  });
  const sent = {
    length: Buffer.concat([
      Buffer.from(`PUT /length HTTP/1.1\r\n${head}Content-Length: ${body.length}\r\n\r\n`),
      body,
    ]),
    chunked: Buffer.concat([
      Buffer.from(`POST /chunked HTTP/1.1\r\n${head}Transfer-Encoding: chunked\r\n\r\n`),
      ...chunks,
      Buffer.from("0\r\n\r\n"),
    ]),
  };
  const whole = await exchange(port, sent.length);
  expect(statusOf(whole)).toBe(200);
  expect(Buffer.from(bodyOf(whole), "latin1").equals(body)).toBe(true);
  const answer = await exchange(port, sent.chunked);
  expect(answer).toContain("Transfer-Encoding: chunked\r\n");
  expect(Buffer.from(unchunk(bodyOf(answer)), "latin1").equals(body)).toBe(true);
});

/** The body in chunks. */
function unchunk(text: string): string {
  let [at, body] = [0, ""];
  for (;;) {
    const end = text.indexOf("\r\n", at);
    const size = Number.parseInt(text.slice(at, end), 16);
    if (size === 0) return body;
    body += text.slice(end + 2, end + 2 + size);
    at = end + 2 + size + 2;
  }
}

test("HTTP/1.0 gets an answer without chunks, up to the end of the connection", async () => {
  const { address } = await httpUpstream((_, response) => {
    response.write("in ");
    response.end("chunks");
  });
  const { port } = await start({ proxy: { upstreams: [address] } });
  const old = await exchange(port, "GET / HTTP/1.0\r\n\r\n");
  expect(old).toContain("Connection: close\r\n");
  expect(bodyOf(old)).toBe("in chunks");
});

test("100 Continue passes from the upstream to the guest that waits for it", async () => {
  const { address } = await httpUpstream(echo);
  const { port } = await start({ proxy: { upstreams: [address] } });
  const guest = guestSocket(port);
  guest.send(`PUT / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n${CLOSE}\r\n`);
  await guest.until(/^HTTP\/1.1 100 Continue\r\n\r\n$/);
  guest.send("abc");
  expect(await guest.closed()).toContain('"length":3');
});

test("each guest has its own identity, whatever it says", async () => {
  const { address } = await httpUpstream(echo);
  const { port } = await start({ proxy: { upstreams: [address] } });
  const claims = "X-Instance-ID: instance-0\r\nx_instance_id: instance-0\r\nX-FORWARDED-FOR: 10.9.9.9\r\n";
  const instances = await Promise.all(
    [...GUESTS.values()].slice(0, 7).map(async ({ metadataAddress, instanceId }) => {
      const { headers } = JSON.parse(bodyOf(await exchange(port, GET("/", claims + CLOSE), metadataAddress)));
      expect(headers["x-forwarded-for"]).toBe("10.0.1.3");
      expect(headers["x-instance-id"]).toBe(instanceId);
      return Object.keys(headers).join();
    }),
  );
  expect(new Set(instances).size).toBe(1);
  expect(instances[0]).not.toContain("_");
});

test("who is no guest is not served, and who has no instance gets 404; both are counted", async () => {
  const { address } = await httpUpstream(echo);
  const { port, service, log } = await start({ proxy: { upstreams: [address] } });
  expect(await exchange(port, GET("/"), "127.0.0.77")).toBe("");
  expect(statusOf(await exchange(port, GET("/", CLOSE), "127.0.0.9"))).toBe(404);
  expect(statusOf(await exchange(port, GET("/", CLOSE), "127.0.0.9"))).toBe(404);
  expect(service.stats().refusals).toMatchObject({ notAGuest: 1, noInstance: 2 });
  const refusals = log.map((line) => JSON.parse(line)).filter(({ reason }) => reason === "noInstance");
  expect(refusals).toMatchObject([{ interface: "tap7" }]);
});

test("what could be smuggled gets 400 and the connection closed, and none of it reaches the upstream", async () => {
  let requests = 0;
  const { address } = await httpUpstream((_, response) => {
    requests++;
    response.end();
  });
  const { port, service } = await start({ proxy: { upstreams: [address] } });
  const hidden = GET("/hidden");
  for (const fields of [
    "Content-Length: 3\r\nContent-Length: 3\r\n",
    "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
    "Content-Length : 3\r\n",
    "X: y\n",
    "X: \0\r\n",
  ]) {
    const answer = await exchange(port, `GET / HTTP/1.1\r\nHost: x\r\n${fields}\r\nabc${hidden}`);
    expect(statusOf(answer), fields).toBe(400);
    expect(answer).toContain("Connection: close\r\n");
    expect(answer.match(/HTTP\/1.1/g)).toHaveLength(1);
  }
  expect(requests).toBe(0);
  expect(service.stats().refusals.malformed).toBe(5);
});

test("upstreams that are down, silent, full or talk nonsense give 502, 504, 503 and 502", async () => {
  const gone = { host: "127.0.0.1", port: await freePort(), tls: undefined };
  const silent = (await rawUpstream(() => {})).address;
  const nonsense = (await rawUpstream((socket) => socket.end("SSH-2.0\r\n\r\n"))).address;
  const twoLengths = (
    await rawUpstream((socket) =>
      socket.end("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na"),
    )
  ).address;
  const timeouts = { connect: 300, firstByte: 300, idle: 300 };
  const ask = async (proxy: Partial<ProxySettings>, text = GET("/", CLOSE)) => {
    const { port } = await start({ proxy: { timeouts, ...proxy } });
    return { port, status: statusOf(await exchange(port, text)) };
  };
  expect((await ask({ upstreams: [gone] })).status).toBe(502);
  expect((await ask({ upstreams: [silent] })).status).toBe(504);
  expect((await ask({ upstreams: [nonsense] })).status).toBe(502);
  expect((await ask({ upstreams: [twoLengths] })).status).toBe(502);

  const slow = { ...timeouts, firstByte: 10_000 };
  const { port } = await start({ proxy: { upstreams: [silent], connections: 1, timeouts: slow } });
  guestSocket(port).send(GET("/first"));
  const answers = await Promise.all([2, 3].map(() => exchange(port, GET("/", CLOSE))));
  expect(answers.map(statusOf)).toEqual([503, 503]);
});

test("an answer that breaks off cuts the guest's connection, so that it is not taken for whole", async () => {
  const { address } = await rawUpstream((socket) => {
    socket.once("data", () => socket.end("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"));
  });
  const { port } = await start({ proxy: { upstreams: [address] } });
  const answer = await exchange(port, GET("/"));
  expect(answer.length === 0 || bodyOf(answer) === "half").toBe(true);
});

test("a kept connection that is closed just then costs nobody a request", async () => {
  const upstream = await rawUpstream((socket) => {
    let served = 0;
    socket.on("data", () => {
      served += 1;
      if (served === 1) socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
      else socket.destroy();
    });
  });
  const { port } = await start({ proxy: { upstreams: [upstream.address] } });
  const guest = guestSocket(port);
  for (const count of [1, 2, 3]) {
    guest.send(GET("/"));
    await guest.until(new RegExp(`^(HTTP.1.1 200[^]*?ok){${count}}$`));
  }
  expect(upstream.connections()).toBe(3);
});

test("a request goes to the next upstream when one cannot be reached, and later to that one last", async () => {
  const gone = { host: "127.0.0.1", port: await freePort(), tls: undefined };
  const { address } = await httpUpstream(echo);
  const { port, service, log } = await start({ proxy: { upstreams: [gone, address] } });
  const guest = guestSocket(port);
  for (const count of [1, 2, 3, 4]) {
    guest.send(`POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc`);
    await guest.until(new RegExp(`("length":3[^]*){${count}}`));
  }
  const [first, second] = service.stats().upstreams;
  expect(first).toMatchObject({
    state: "down",
    failures: 1,
    reason: expect.stringContaining("ECONNREFUSED"),
  });
  expect(second).toMatchObject({ state: "up", failures: 0 });
  expect(log.filter((line) => line.includes("cannot be reached"))).toHaveLength(1);
});

test("limits: requests a second and in flight, connections, bytes of a body", async () => {
  const silent = (await rawUpstream(() => {})).address;
  const { port, service } = await start({
    limits: { ...LIMITS, requestsPerSecond: 3, requestsInFlight: 2, connectionsPerGuest: 6, bodyBytes: 10 },
    proxy: { upstreams: [silent] },
  });
  const waiting = [guestSocket(port), guestSocket(port)];
  for (const guest of waiting) guest.send(GET("/"));
  const third = await exchange(port, GET("/", CLOSE));
  expect(statusOf(third)).toBe(429);
  expect(third).toContain("Retry-After: 1\r\n");
  expect(bodyOf(third)).toContain("at once");
  expect(bodyOf(await exchange(port, GET("/", CLOSE)))).toContain("a second");
  // Others have limits of their own.
  guestSocket(port, "127.0.0.3").send(GET("/"));
  const large = `PUT / HTTP/1.1\r\nHost: x\r\n`;
  const other = "127.0.0.4";
  expect(statusOf(await exchange(port, `${large}Content-Length: 11\r\n\r\n`, other))).toBe(413);
  const chunked = `${large}Transfer-Encoding: chunked\r\n\r\nb\r\n01234567890\r\n0\r\n\r\n`;
  expect(statusOf(await exchange(port, chunked, other))).toBe(413);

  const crowd = Array.from({ length: 6 }, () => guestSocket(port, "127.0.0.5"));
  await Promise.all(crowd.map(({ socket }) => once(socket, "connect")));
  expect(await exchange(port, GET("/"), "127.0.0.5")).toBe("");
  expect(service.stats().refusals).toMatchObject({
    tooManyConnections: 1,
    tooManyInFlight: 1,
    tooManyRequests: 1,
  });
});

test("a new limit of a body's bytes holds for connections that are there already", async () => {
  const { address } = await httpUpstream(echo);
  const { port, service } = await start({ proxy: { upstreams: [address] } });
  const guest = guestSocket(port);
  const request = "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc";
  guest.send(request);
  await guest.until(/"length":3/);
  service.configure({
    mode: "builtin",
    requireToken: false,
    limits: { ...LIMITS, bodyBytes: 2 },
    proxy: undefined,
  });
  guest.send(request);
  expect(await guest.closed()).toMatch(/HTTP\/1\.1 413 /);
});

test("slow guests are given up, and hold up nobody meanwhile", async () => {
  const { address } = await httpUpstream(echo);
  const guestTimeouts = { head: 400, idle: 400, stalled: 400 };
  const { port } = await start({ proxy: { upstreams: [address] } }, { guestTimeouts });
  const slow = {
    silent: guestSocket(port),
    head: guestSocket(port),
    idle: guestSocket(port),
    body: guestSocket(port),
  };
  slow.head.send("GET / HT");
  slow.idle.send(GET("/"));
  slow.body.send("PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\na");
  expect(statusOf(await exchange(port, GET("/", CLOSE), "127.0.0.3"))).toBe(200);
  expect(await slow.silent.closed()).toBe("");
  expect(statusOf(await slow.head.closed())).toBe(408);
  expect((await slow.idle.closed()).match(/HTTP\/1.1 200/g)).toHaveLength(1);
  expect(statusOf(await slow.body.closed())).toBe(408);
});

test("a guest that does not read its answer holds up no more than its buffers, and is given up", async () => {
  let written = 0;
  const { address } = await httpUpstream((_, response) => {
    const more = () => {
      do written += 65_536;
      while (response.write(Buffer.alloc(65_536)) && written < 100_000_000);
    };
    response.on("drain", more);
    more();
  });
  const { port, service } = await start(
    { proxy: { upstreams: [address] } },
    { guestTimeouts: { head: 400, idle: 400, stalled: 400 } },
  );
  const guest = guestSocket(port);
  guest.socket.pause();
  guest.send(GET("/"));
  await expect.poll(() => written).toBeGreaterThan(0);
  await expect.poll(() => service.stats().connections, { timeout: 10_000 }).toBe(0);
  expect(written).toBeLessThan(50_000_000);
});

test("a connection is that of the guest that opened it, whoever has its address later", async () => {
  let tenant = "before";
  const guestOf = (metadataAddress: string): GuestIdentity => ({
    interface: "tap0",
    metadataAddress,
    addresses: [],
    instanceId: tenant,
  });
  let answer = () => {};
  const { address } = await httpUpstream((request, response) => {
    answer = () => response.end(`for ${request.headers["x-instance-id"]}`);
    if (request.url === "/now") answer();
  });
  const { port, service, log } = await start({ proxy: { upstreams: [address] } }, { guestOf });
  const waiting = guestSocket(port);
  waiting.send(GET("/latest/meta-data/iam/security-credentials/role"));
  const idle = guestSocket(port);
  idle.send(GET("/now"));
  await idle.until(/for before/);
  await expect.poll(() => service.stats().guests[0]?.inFlight).toBe(1);
  tenant = "after";
  idle.send(GET("/now"));
  await idle.until(/HTTP\/1.1 404 /);
  expect(await waiting.closed()).toBe("");
  await idle.closed();
  answer();
  expect(idle.received()).not.toContain("for after");
  expect(bodyOf(await exchange(port, GET("/now", CLOSE)))).toContain("for after");
  expect(service.stats().guests).toMatchObject([
    { instanceId: "after", requests: 1, answers: [{ status: 200, count: 1 }], inFlight: 0 },
  ]);
  const audited = log.map((line) => JSON.parse(line)).filter(({ msg }) => msg === "metadata audit");
  expect(audited).toMatchObject([{ instanceId: "before", status: 499 }]);
});

test("a guest that asks for tokens too often does not fill the log", async () => {
  const { port, log } = await start({ limits: { ...LIMITS, requestsPerSecond: 3 } });
  const put = `PUT /latest/api/token HTTP/1.1\r\nHost: x\r\nX-aws-ec2-metadata-token-ttl-seconds: 60\r\n`;
  await exchange(port, `${`${put}\r\n`.repeat(500)}${put}${CLOSE}\r\n`);
  expect(log.filter((line) => line.includes("metadata audit")).length).toBeLessThan(50);
});

test("a guest that reads slowly gets the whole of an answer after which the connection is closed", async () => {
  const body = "x".repeat(20_000_000);
  const { port } = await start({}, { builtin: () => ({ status: 200, headers: [], body }) });
  const guest = guestSocket(port);
  guest.socket.pause();
  guest.send(GET("/", CLOSE));
  // Longer than the service lingers after an answer that is on its way as a whole.
  await new Promise((resolve) => setTimeout(resolve, 2500));
  guest.socket.resume();
  expect(bodyOf(await guest.closed())).toHaveLength(body.length);
});

test("a guest that goes away frees what it had", async () => {
  const upstream = await rawUpstream(() => {});
  const { port, service } = await start({ proxy: { upstreams: [upstream.address] } });
  const guest = guestSocket(port);
  guest.send(GET("/"));
  await expect.poll(() => service.stats().upstreams[0]?.connections.busy).toBe(1);
  guest.socket.destroy();
  await expect.poll(() => service.stats().connections).toBe(0);
  expect(service.stats().upstreams[0]?.connections).toEqual({ busy: 0, idle: 0 });
  expect(service.stats().guests).toMatchObject([{ connections: 0, inFlight: 0, last: { status: 499 } }]);
});

test("builtin answers come in order, HEAD without a body, and a body that nobody wants ends the connection", async () => {
  const { port, service } = await start({});
  const guest = guestSocket(port, "127.0.0.3");
  guest.send(`${GET("/a")}HEAD /bb HTTP/1.1\r\nHost: x\r\n\r\n${GET("/c")}`);
  guest.send("POST /d HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx");
  const answers = (await guest.closed()).split(/HTTP\/1.1 200 OK\r\n/).slice(1);
  expect(answers.map(bodyOf)).toEqual(["tap1 /a", "", "tap1 /c", "tap1 /d"]);
  expect(answers[1]).toContain("Content-Length: 8\r\n");
  expect(answers.map((answer) => answer.includes("Connection: close"))).toEqual([false, false, false, true]);
  expect(service.stats()).toMatchObject({
    mode: "builtin",
    answers: [{ status: 200, count: 4 }],
    guests: [{ interface: "tap1", requests: 4 }],
  });
});

test("a guest that asks on and never reads is served no further than its buffers", async () => {
  let answered = 0;
  const { port } = await start(
    {},
    {
      builtin: () => {
        answered++;
        return { status: 200, headers: [], body: "x".repeat(100_000) };
      },
    },
  );
  const guest = guestSocket(port);
  guest.socket.pause();
  await once(guest.socket, "connect");
  for (let i = 0; i < 2000; i++) guest.send(GET("/"));
  // A second guest comes after all that could be done for the first.
  for (let i = 0; i < 3; i++) await exchange(port, GET("/", CLOSE), "127.0.0.3");
  expect(answered).toBeLessThan(500);
});

test("tokens stand before both modes, and neither they nor the secret are logged", async () => {
  const { address } = await httpUpstream(echo);
  for (const proxy of [undefined, { upstreams: [address] }]) {
    const { port, log } = await start({ requireToken: true, ...(proxy && { proxy }) });
    expect(statusOf(await exchange(port, GET("/latest/meta-data/", CLOSE)))).toBe(401);
    const put = `PUT /latest/api/token HTTP/1.1\r\nHost: x\r\n${CLOSE}X-aws-ec2-metadata-token-ttl-seconds: 60\r\n`;
    expect(statusOf(await exchange(port, `${put}X-Forwarded-For: 1.2.3.4\r\n\r\n`))).toBe(403);
    const token = bodyOf(await exchange(port, `${put}\r\n`));
    const field = `X-aws-ec2-metadata-token: ${token}\r\n${CLOSE}`;
    const path = "/latest/meta-data/iam/security-credentials/role";
    const answer = await exchange(port, GET(path, field));
    expect(statusOf(answer)).toBe(200);
    expect(answer).not.toContain(token);
    // It is bound to the guest.
    expect(statusOf(await exchange(port, GET(path, field), "127.0.0.3"))).toBe(401);
    const audit = log.map((line) => JSON.parse(line)).filter(({ msg }) => msg === "metadata audit");
    expect(
      audit.map((line) => `${line.interface} ${line.instanceId} ${line.method} ${line.path} ${line.status}`),
    ).toEqual([
      "tap0 instance-0 PUT /latest/api/token 403",
      "tap0 instance-0 PUT /latest/api/token 200",
      `tap0 instance-0 GET ${path} 200`,
      `tap1 instance-1 GET ${path} 401`,
    ]);
    expect(log.join()).not.toContain(token);
    expect(log.join()).not.toContain("s3cret");
  }
});

test("new settings hold from the next request on, and what is under way ends as it began", async () => {
  let release = () => {};
  const { address } = await httpUpstream((request, response) => {
    if (request.url !== "/slow") response.end("upstream");
    else release = () => response.end("slow");
  });
  const { port, service } = await start({ proxy: { upstreams: [address] } });
  const guest = guestSocket(port);
  guest.send(GET("/slow"));
  await expect.poll(() => service.stats().guests[0]?.inFlight).toBe(1);
  service.configure({ mode: "builtin", requireToken: false, limits: LIMITS, proxy: undefined });
  const other = await exchange(port, GET("/x", CLOSE));
  expect(bodyOf(other)).toBe("tap0 /x");
  release();
  await guest.until(/slow/);
  guest.send(GET("/y", CLOSE));
  expect(await guest.closed()).toContain("tap0 /y");
});

test("it listens elsewhere when it is told to, and again once a port is free", async () => {
  const { service, port } = await start({});
  const taken = createServer().listen(0, "127.0.0.1");
  await once(taken, "listening");
  const next = (taken.address() as AddressInfo).port;
  service.listen({ address: "127.0.0.1", port: next });
  await expect.poll(() => service.stats().listening?.state).toBe("failed");
  await new Promise((resolve) => taken.close(resolve));
  await expect.poll(() => service.stats().listening?.state, { timeout: 5000 }).toBe("listening");
  expect(bodyOf(await exchange(next, GET("/", CLOSE)))).toBe("tap0 /");
  const refused = guestSocket(port);
  await refused.closed();
  expect(refused.received()).toBe("");
});

test("a request that comes again on a connection is judged anew, and says who asks now", async () => {
  const { address } = await httpUpstream(echo);
  let guestNow: GuestIdentity = { ...GUESTS.get("127.0.0.2")!, projectId: "p-1" };
  const proxy = {
    upstreams: [address],
    secret: "s3cret",
    timeouts: { connect: 1000, firstByte: 20_000, idle: 20_000 },
    connections: 50,
  };
  const { port, service } = await start({ proxy }, { guestOf: () => guestNow });
  const settings = { mode: "proxy", requireToken: false, limits: LIMITS, proxy } as const;
  const guest = guestSocket(port);
  let before = 0;
  async function again(): Promise<string> {
    guest.send(GET("/again"));
    const received = await guest.until(new RegExp(`^[^]{${before}}HTTP/1\\.1 [^]*\n(\\{.*\\}|[a-z ].*\n)$`));
    const answer = received.slice(before);
    before = received.length;
    return answer;
  }
  const asked = async () => JSON.parse(bodyOf(await again())).headers;

  const first = await asked();
  expect(await asked()).toEqual(first);
  expect(first).toMatchObject({ "x-tenant-id": "p1", "x-forwarded-for": "10.0.1.3" });
  guestNow = { ...guestNow, projectId: "p-2", addresses: ["10.0.1.4"] };
  const changed = await asked();
  expect(changed).toEqual({ ...first, "x-tenant-id": "p2", "x-forwarded-for": "10.0.1.4" });
  service.configure({ ...settings, proxy: { ...proxy, secret: "another" } });
  const signed = await asked();
  expect(signed["x-instance-id-signature"]).not.toBe(first["x-instance-id-signature"]);
  service.configure({ ...settings, requireToken: true });
  expect(statusOf(await again())).toBe(401);
  service.configure(settings);
  expect(await asked()).toEqual(changed);
  service.configure({ ...settings, limits: { ...LIMITS, requestsPerSecond: 1 } });
  expect(statusOf(await again())).toBe(200);
  expect(statusOf(await again())).toBe(429);
  guestNow = { ...guestNow, instanceId: "instance-of-another" };
  expect(statusOf(await again())).toBe(404);
});
