/** New settings while requests are under way: the service on the loopback. */
import { createHmac } from "node:crypto";
import { expect, test } from "vitest";
import {
  bodyOf,
  CLOSE,
  exchange,
  GET,
  httpUpstream,
  LIMITS,
  rawUpstream,
  start,
  statusOf,
} from "./testing.ts";

const GUESTS = [0, 1, 2, 3, 4, 5];
const RELOADS = 30;

test("upstream and secret change under load: no request fails, and none after a change goes by what was before it", async () => {
  /** How often the settings were changed; each time another secret and the other upstream. */
  let now = 0;
  const secretOf = (count: number) => `secret ${count}`;
  const sign = (count: number, instance: string) =>
    createHmac("sha256", secretOf(count)).update(instance).digest("hex");
  const upstreams = await Promise.all(
    [0, 1].map((parity) =>
      httpUpstream((request, response) => {
        const asked = Number(request.url?.slice(1));
        const instance = String(request.headers["x-instance-id"]);
        const signature = request.headers["x-instance-id-signature"];
        const counts = Array.from({ length: now + 1 - asked }, (_, index) => asked + index);
        const isRight = counts.some((count) => count % 2 === parity && sign(count, instance) === signature);
        // Some answers take until after the next change.
        setTimeout(() => response.writeHead(isRight ? 200 : 403).end(), asked % 3);
      }),
    ),
  );
  const settingsOf = (count: number) => ({
    upstreams: [upstreams[count % 2]!.address],
    secret: secretOf(count),
    timeouts: { connect: 5000, firstByte: 5000, idle: 5000 },
    // So few that some have to wait for one.
    connections: 3,
  });
  const { port, service } = await start({ proxy: settingsOf(0) });

  let answers = 0;
  const statuses = new Map<number, number>();
  async function ask(index: number): Promise<void> {
    while (now < RELOADS) {
      const status = statusOf(await exchange(port, GET(`/${now}`, CLOSE), `127.0.0.${2 + index}`));
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
      answers += 1;
    }
  }
  async function change(): Promise<void> {
    while (now < RELOADS) {
      const until = answers + 2 * GUESTS.length;
      await expect.poll(() => answers, { interval: 1, timeout: 10_000 }).toBeGreaterThanOrEqual(until);
      service.configure({
        mode: "proxy",
        requireToken: false,
        limits: LIMITS,
        proxy: settingsOf(now + 1),
      });
      now += 1;
    }
  }
  await Promise.all([change(), ...GUESTS.map(ask)]);
  expect([...statuses.keys()]).toEqual([200]);
  expect(statusOf(await exchange(port, GET(`/${RELOADS}`, CLOSE)))).toBe(200);
  expect(service.stats().upstreams).toMatchObject([{ failures: 0, waiting: 0 }]);
});

test("a request that waits for a connection goes by the new settings, and one that was sent ends as it began", async () => {
  const answers: Array<() => void> = [];
  const { address } = await httpUpstream((request, response) => {
    answers.push(() => response.end(String(request.headers["x-instance-id-signature"])));
  });
  const settings = {
    upstreams: [address],
    timeouts: { connect: 20_000, firstByte: 20_000, idle: 20_000 },
    connections: 1,
  };
  const signed = (secret: string) => createHmac("sha256", secret).update("instance-0").digest("hex");
  const configure = (proxy: (typeof settings & { secret: string }) | undefined) =>
    service.configure({
      mode: proxy === undefined ? "builtin" : "proxy",
      requireToken: false,
      limits: LIMITS,
      proxy,
    });
  const { port, service } = await start({ proxy: { ...settings, secret: "old" } });
  const sent = exchange(port, GET("/", CLOSE));
  await expect.poll(() => answers).toHaveLength(1);
  const waiting = exchange(port, GET("/", CLOSE));
  await expect.poll(() => service.stats().upstreams[0]?.waiting).toBe(1);
  configure({ ...settings, secret: "new" });
  await expect.poll(() => answers).toHaveLength(2);
  const late = exchange(port, GET("/", CLOSE));
  await expect.poll(() => service.stats().upstreams[0]?.waiting).toBe(1);
  configure(undefined);
  expect(statusOf(await late)).toBe(503);
  for (const answer of answers) answer();
  expect(bodyOf(await sent)).toBe(signed("old"));
  expect(bodyOf(await waiting)).toBe(signed("new"));
});

test("a request whose connection turns out to be closed goes to the new upstream where the settings changed meanwhile", async () => {
  let closeConnection = () => {};
  let asked = 0;
  const former = await rawUpstream((socket) => {
    closeConnection = () => void socket.end();
    socket.on("data", () => {
      asked += 1;
      if (asked === 1) socket.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    });
  });
  const { address } = await httpUpstream((_, response) => void response.end("new"));
  const { port, service } = await start({ proxy: { upstreams: [former.address] } });
  expect(statusOf(await exchange(port, GET("/", CLOSE)))).toBe(200);
  const retried = exchange(port, GET("/", CLOSE));
  await expect.poll(() => asked).toBe(2);
  service.configure({
    mode: "proxy",
    requireToken: false,
    limits: LIMITS,
    proxy: {
      upstreams: [address],
      secret: "s3cret",
      timeouts: { connect: 5000, firstByte: 5000, idle: 5000 },
      connections: 3,
    },
  });
  closeConnection();
  expect(bodyOf(await retried)).toContain("new");
  expect(former.connections()).toBe(1);
});
