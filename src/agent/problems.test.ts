import { describe, expect, it } from "vitest";
import type { Datapath, Settings } from "../datapath/types.ts";
import { fakeLink } from "./fakes.ts";
import { healthProblems, readinessProblems } from "./problems.ts";

const device = fakeLink(8, "onlink0", { alias: "onlink /run/onlink", peer: 9 });
const peer = fakeLink(9, "onlink0p", { peer: 8 });

function problems({
  links = [device, peer],
  attachedTo = 8,
  settings = {} as Settings | undefined,
  followed = true,
} = {}): string[] {
  const datapath: Pick<Datapath, "settings" | "attachments"> = {
    settings: () => settings,
    attachments: () => [
      { program: "vif", ifindex: 5, how: "tcx" },
      { program: "host", ifindex: attachedTo, how: "tcx" },
    ],
  };
  const network = { link: (which: string | number) => links.find(({ name }) => name === which) };
  return healthProblems({ datapath, network, device: "onlink0", runtimeDir: "/run/onlink", followed });
}

describe("health", () => {
  it("is good while the datapath is attached to the device and the network is followed", () => {
    expect(problems()).toEqual([]);
  });

  it("says what does not work", () => {
    expect(problems({ followed: false })).toEqual([expect.stringContaining("not followed any more")]);
    expect(problems({ links: [] })).toEqual([expect.stringContaining("onlink0 is gone")]);
    expect(problems({ attachedTo: 7 })).toEqual([
      "the datapath is not attached to onlink0; restart the agent",
    ]);
    expect(problems({ links: [fakeLink(8, "onlink0")] })).toEqual([
      expect.stringContaining("is not onlink's"),
    ]);
  });

  it("says so when the kernel does not answer, and throws nothing", () => {
    const datapath: Pick<Datapath, "settings" | "attachments"> = {
      settings: () => undefined,
      attachments: () => {
        throw new Error("EIO");
      },
    };
    const network = { link: (which: string | number) => (which === "onlink0" ? device : peer) };
    expect(
      healthProblems({ datapath, network, device: "onlink0", runtimeDir: "/run/onlink", followed: true }),
    ).toEqual(["EIO"]);
  });
});

describe("readiness", () => {
  const configuration = { file: "/etc/onlink/onlink.yaml", loaded: "2026-01-02T03:04:05.000Z" };
  const nothing = {
    configuration,
    failures: [],
    services: [],
    interfaces: [],
    fabric: [],
    metadata: undefined,
    guestFiles: [],
  };
  const inUse = { address: "127.0.0.1", port: 1, state: "in use", kind: "host-local" } as const;
  const outOfUse = { address: "192.0.2.1", port: 1, state: "out of use", reason: "no route to it" } as const;
  const service = { name: "dns", address: "169.254.169.253", port: 53, protocols: ["udp" as const] };

  it("is there while each service has a backend and each interface that is there is attached", () => {
    expect(
      readinessProblems({
        ...nothing,
        services: [{ ...service, backends: [outOfUse, inUse] }],
        interfaces: [
          { name: "tap0", state: "attached", ifindex: 5, metadataAddress: "169.254.64.2" },
          { name: "tap1", state: "waiting" },
          { name: "eth0", state: "fabric", ifindex: 2 },
        ],
        fabric: [{ name: "eth0", state: "attached", ifindex: 2 }],
      }),
    ).toEqual([]);
  });

  it("names what is not in step", () => {
    expect(readinessProblems({ ...nothing, configuration: { ...configuration, errors: ["bad"] } })).toEqual([
      "the configuration was refused: bad",
    ]);
    expect(readinessProblems({ ...nothing, failures: ["ENOMEM"] })).toEqual([
      "the datapath is not in step: ENOMEM",
    ]);
    const listening = { address: "169.254.64.1", port: 9697 };
    expect(readinessProblems({ ...nothing, metadata: { ...listening, state: "listening" } })).toEqual([]);
    const failed = { ...listening, state: "failed", reason: "EADDRINUSE" } as const;
    expect(readinessProblems({ ...nothing, metadata: failed })).toEqual(["the metadata service: EADDRINUSE"]);
    expect(readinessProblems({ ...nothing, guestFiles: ["tap0.yaml: empty"] })).toEqual([
      "metadata of guests: tap0.yaml: empty",
    ]);
    expect(readinessProblems({ ...nothing, services: [{ ...service, backends: [outOfUse] }] })).toEqual([
      "service dns: no backend is in use",
    ]);
    expect(
      readinessProblems({
        ...nothing,
        interfaces: [{ name: "tap0", state: "failed", ifindex: 5, reason: "it is not Ethernet" }],
        fabric: [
          { name: "eth1", state: "failed", ifindex: 3, reason: "no memory" },
          { name: "eth7", state: "waiting" },
        ],
      }),
    ).toEqual([
      "interface tap0: it is not Ethernet",
      "fabric interface eth1: no memory",
      "fabric interface eth7: not there",
    ]);
  });
});
