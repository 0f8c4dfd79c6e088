/** Many guests at once: every answer is right, and goes to the guest that asked. */
import { expect, test } from "vitest";
import { openLab } from "../src/lab/lab.ts";
import { startHttpServer } from "../src/lab/servers.ts";
import { metadataAddressIn, startAgent, statusOf } from "./support/agent.ts";
import { CURL, output } from "./support/commands.ts";

const GUESTS = 200;
const REQUESTS = 20;

test(`${GUESTS} guests with the same address ask ${REQUESTS} times each, all at once`, async () => {
  await using lab = await openLab();
  await startHttpServer(lab.host, { address: "127.0.0.1", port: 8080 });
  const guests = await lab.addGuests(
    Array.from({ length: GUESTS }, (_, index) => ({
      name: `g${index}`,
      link: "veth",
      behaviour: index % 2 === 0 ? "routed" : "on-link",
      address: "10.0.1.3/24",
      gateway: "10.0.1.1",
      gatewayOnHost: false,
    })),
  );
  await startAgent(lab, {
    services: [{ name: "web", address: "169.254.169.254", port: 80, backends: ["127.0.0.1:8080"] }],
    interfaces: [{ name: "vif-*" }],
  });
  const status = await statusOf(lab);

  // The source ports are the same everywhere too.
  const options = ["--parallel", "--parallel-immediate", "--parallel-max", `${REQUESTS}`];
  const ports = ["--local-port", `40000-${40000 + REQUESTS - 1}`];
  const answers = await Promise.all(
    guests.map(({ name, ...guest }) =>
      output(guest, [...CURL, ...options, ...ports, `http://169.254.169.254/${name}/[1-${REQUESTS}]`], {
        timeout: 60_000,
      }),
    ),
  );
  for (const [index, { name, vif }] of guests.entries()) {
    const seen = answers[index]!.trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(seen.map(({ url }) => url).sort()).toEqual(
      Array.from({ length: REQUESTS }, (_, request) => `/${name}/${request + 1}`).sort(),
    );
    expect(new Set(seen.map(({ peer }) => peer))).toEqual(new Set([metadataAddressIn(status, vif)]));
  }
});
