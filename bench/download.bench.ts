/**
 * How fast a guest downloads through a service from a host-local backend, against the same download straight from the host's
 * address. The two take turns, so that whatever else the machine does falls on both. Fails below the promised share.
 */
import { expect, test } from "vitest";
import { type Guest, openLab } from "../src/lab/lab.ts";
import { startHttpServer } from "../src/lab/servers.ts";
import { startAgent } from "../test/support/agent.ts";
import { output } from "../test/support/commands.ts";
import { median } from "./median.ts";

const BYTES = 1_000_000_000;
const ROUNDS = 21;
/** The least share of the direct rate that is promised. */
const LEAST_RATIO = 0.9;

/** Downloads once; returns the rate in MB/s. */
async function rateOf(guest: Guest, url: string): Promise<number> {
  const written = await output(
    guest,
    [
      "curl",
      "-sS",
      "--fail",
      "-o",
      "/dev/null",
      "-w",
      "%{size_download} %{speed_download}",
      `${url}/bytes/${BYTES}`,
    ],
    { timeout: 100_000 },
  );
  const [size, speed] = written.split(" ").map(Number);
  expect(size).toBe(BYTES);
  return speed! / 1e6;
}

test("download of 1 GB through a service", async () => {
  await using lab = await openLab();
  const guest = await lab.addGuest({
    name: "web",
    link: "veth",
    behaviour: "on-link",
    address: "10.0.1.3/24",
    gateway: "10.0.1.1",
  });
  await startHttpServer(lab.host, { address: "0.0.0.0", port: 8080 });
  await startAgent(lab, {
    services: [{ name: "web", address: "169.254.169.254", port: 80, backends: ["127.0.0.1:8080"] }],
    interfaces: [{ name: "vif-*" }],
  });
  const ways = { direct: "http://10.0.1.1:8080", service: "http://169.254.169.254" };
  const rates = { direct: [] as number[], service: [] as number[] };
  for (const url of Object.values(ways)) await rateOf(guest, url);
  for (let round = 0; round < ROUNDS; round++) {
    rates.direct.push(await rateOf(guest, ways.direct));
    rates.service.push(await rateOf(guest, ways.service));
  }
  const ratio = median(rates.service) / median(rates.direct);
  const line = (name: string, values: readonly number[]) =>
    `${name.padEnd(8)} median ${median(values).toFixed(0)} MB/s, all: ${values.map((v) => v.toFixed(0)).join(" ")}`;
  console.log(
    [line("direct", rates.direct), line("service", rates.service), `ratio    ${ratio.toFixed(3)}`].join("\n"),
  );
  expect(ratio).toBeGreaterThanOrEqual(LEAST_RATIO);
});
