/** The metadata service in front of a server, as guests see it. */
import { createHmac } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Guest, type Lab, openLab } from "../src/lab/lab.ts";
import { startHttpServer } from "../src/lab/servers.ts";
import { startAgent } from "./support/agent.ts";
import { requestFrom } from "./support/commands.ts";

const INSTANCE = "6f3a0a3e-3b1c-4f0e-9a53-1f3a6a1d2c11";

let lab: Lab;
let guest: Guest;
beforeAll(async () => {
  lab = await openLab();
  guest = await lab.addGuest({
    name: "red",
    link: "veth",
    behaviour: "on-link",
    address: "10.0.1.3/24",
    gateway: "10.0.1.1",
    gatewayOnHost: false,
  });
  await startHttpServer(lab.host, { address: "127.0.0.1", port: 8775 });
  await startAgent(lab, {
    services: [{ name: "metadata", address: "169.254.169.254", port: 80, kind: "metadata" }],
    interfaces: [
      {
        name: "vif-red",
        instanceId: INSTANCE,
        projectId: "0f7c1e0a-5b52-4f3e-8a0e-6d4f0b7a9e21",
        addresses: ["10.0.1.3"],
      },
    ],
    metadata: { mode: "proxy", proxy: { upstream: "http://127.0.0.1:8775", secret: "s3cret" } },
  });
});
afterAll(() => lab?.close());

test("a request reaches the upstream with the guest's identity, and with none that the guest claims", async () => {
  const claimed = ["-H", "X-Instance-ID: other", "-H", "X_Forwarded_For: 10.9.9.9"];
  const { headers } = await requestFrom(guest, "http://169.254.169.254/", ...claimed);
  expect(headers).toMatchObject({
    host: "127.0.0.1:8775",
    "x-instance-id": INSTANCE,
    "x-forwarded-for": "10.0.1.3",
    "x-tenant-id": "0f7c1e0a5b524f3e8a0e6d4f0b7a9e21",
    "x-instance-id-signature": createHmac("sha256", "s3cret").update(INSTANCE).digest("hex"),
  });
  expect(Object.keys(headers).filter((name) => name.includes("_"))).toEqual([]);
});
