import type { Datapath } from "../datapath/types.ts";
import type { Rtnetlink } from "../linux/rtnetlink.ts";
import type { ListenState } from "../metadata/listener.ts";
import { messageOf } from "./errors.ts";
import type { FabricState } from "./fabric.ts";
import { findHostDevice } from "./host-device.ts";
import type { InterfaceState } from "./interfaces.ts";
import type { ConfigurationStatus, ServiceState } from "./status.ts";

/** What `healthProblems` looks at. */
export interface HealthOptions {
  datapath: Pick<Datapath, "settings" | "attachments">;
  network: Pick<Rtnetlink, "link">;
  /** Name of the host device. */
  device: string;
  runtimeDir: string;
  /** Whether changes of the host's network still reach the agent. */
  followed: boolean;
}

/** Why the agent does not work, whatever the configuration asks for; empty: it works. Asks the kernel, and throws nothing. */
export function healthProblems(options: HealthOptions): string[] {
  const { datapath, network, device, runtimeDir, followed } = options;
  const problems = followed
    ? []
    : ["changes of the host's network are not followed any more; restart the agent"];
  try {
    const found = findHostDevice(network, device, runtimeDir);
    const isAttached = datapath
      .attachments()
      .some(({ program, ifindex }) => program === "host" && ifindex === found?.device.ifindex);
    if (found === undefined) problems.push(`the device ${device} is gone; the agent makes it anew shortly`);
    else if (!isAttached) problems.push(`the datapath is not attached to ${device}; restart the agent`);
    if (datapath.settings() === undefined) problems.push("the datapath has no settings; restart the agent");
  } catch (error) {
    problems.push(messageOf(error));
  }
  return problems;
}

/** What is configured, as it stands. */
export interface Configured {
  configuration: ConfigurationStatus;
  /** What went wrong when the datapath was last brought in step. */
  failures: readonly string[];
  services: readonly ServiceState[];
  interfaces: readonly InterfaceState[];
  fabric: readonly FabricState[];
  /** Where the metadata service listens; undefined where there is none. */
  metadata: ListenState | undefined;
  /** What is wrong with the files that say what guests are told. */
  guestFiles: readonly string[];
}

/**
 * Why not all that is configured is in step; empty: it is. An interface that is not there is nothing to be in step with, and a service with a
 * backend left is served.
 */
export function readinessProblems(configured: Configured): string[] {
  const { configuration, failures, services, interfaces, fabric, metadata, guestFiles } = configured;
  return [
    ...failures.map((failure) => `the datapath is not in step: ${failure}`),
    ...(configuration.errors ?? []).map((error) => `the configuration was refused: ${error}`),
    ...services.flatMap(({ name, backends }) =>
      backends.some(({ state }) => state === "in use") ? [] : [`service ${name}: no backend is in use`],
    ),
    ...interfaces.flatMap((one) => (one.state === "failed" ? [`interface ${one.name}: ${one.reason}`] : [])),
    ...fabric.flatMap((one) => {
      if (one.state === "attached") return [];
      return [`fabric interface ${one.name}: ${one.state === "failed" ? one.reason : "not there"}`];
    }),
    ...(metadata?.state === "failed" ? [`the metadata service: ${metadata.reason}`] : []),
    ...guestFiles.map((problem) => `metadata of guests: ${problem}`),
  ];
}
