/** A large download through a service. Its rate is a matter for the benchmark. */
import { expect, test } from "vitest";
import { openLab } from "../src/lab/lab.ts";
import { startHttpServer } from "../src/lab/servers.ts";
import { startAgent } from "./support/agent.ts";
import { output } from "./support/commands.ts";
import { WEB } from "./support/guest.ts";

const GIGABYTE = 1_000_000_000;

test("a guest downloads 1 GB from a host-local backend", async () => {
  await using lab = await openLab();
  await startHttpServer(lab.host, { address: "127.0.0.1", port: 8080 });
  const guest = await lab.addGuest(WEB);
  await startAgent(lab, {
    services: [{ name: "web", address: "169.254.169.254", port: 80, backends: ["127.0.0.1:8080"] }],
    interfaces: [{ name: "vif-*" }],
  });
  const written = await output(
    guest,
    [
      ...["curl", "--silent", "--show-error", "--fail", "--output", "/dev/null"],
      ...["--write-out", "%{http_code} %{size_download}"],
      `http://169.254.169.254/bytes/${GIGABYTE}`,
    ],
    { timeout: 100_000 },
  );
  expect(written).toBe(`200 ${GIGABYTE}`);
});
