import { constants } from "node:os";
import type { Logger } from "pino";
import { formatDuration } from "../config/duration.ts";
import { DatapathError, EntryError } from "../datapath/errors.ts";
import type { Datapath, ServiceKey } from "../datapath/types.ts";
import type { Operation, ServiceTables } from "./plan.ts";

/** What a plan is done on. */
export type PlanTarget = ServiceTables & Pick<Datapath, "endFlows">;

/** The name of a service; undefined where the configuration has none with this key. */
export type NameOf = (service: ServiceKey) => string | undefined;

/**
 * Does the steps of a plan in their order, and logs what it removes. Where a write fails, those before it are done, after each of which the datapath is right,
 * and none after it: throws `DatapathError` that says which service it was about.
 */
export function apply(
  target: PlanTarget,
  operations: readonly Operation[],
  { nameOf, log }: { nameOf: NameOf; log: Logger },
): void {
  for (const operation of operations) {
    try {
      take(target, operation);
    } catch (error) {
      if (!(error instanceof EntryError) || operation.kind === "end-flows") throw error;
      const about = aboutWrite(operation, error.index, (service) => {
        const key = typeof service === "number" ? serviceOf(service, operations, target) : service;
        return key === undefined ? "a service that is gone" : serviceText(key, nameOf(key));
      });
      throw new DatapathError(`${about}: ${reasonOf(error)}`, error.errno);
    }
    logRemoval(operation, log);
  }
}

function take(target: PlanTarget, operation: Operation): void {
  switch (operation.kind) {
    case "set-backends":
      target.backends.setAll(operation.entries);
      break;
    case "delete-backends":
      target.backends.deleteAll(operation.keys);
      break;
    case "set-services":
      target.services.setAll(operation.entries);
      break;
    case "delete-services":
      target.services.deleteAll(operation.keys);
      break;
    case "set-addresses":
      target.serviceAddresses.setAll(operation.entries.map(([address, services]) => [address, { services }]));
      break;
    case "delete-addresses":
      target.serviceAddresses.deleteAll(operation.keys);
      break;
    case "end-flows":
      target.endFlows([
        ...operation.services.map((service) => ({ service })),
        ...operation.addresses.map((address) => ({ address })),
      ]);
      break;
  }
}

/** What the write at an index of a step is about. `inWords`: a service, by its key or id. */
function aboutWrite(
  operation: Exclude<Operation, { kind: "end-flows" }>,
  index: number,
  inWords: (service: ServiceKey | number) => string,
): string {
  switch (operation.kind) {
    case "set-backends": {
      const [{ service }, { address, port }] = operation.entries[index]!;
      return `${inWords(service)}, backend ${address}:${port}`;
    }
    case "delete-backends":
      return `${inWords(operation.keys[index]!.service)}, a backend that it has no longer`;
    case "set-services":
      return inWords(operation.entries[index]![0]);
    case "delete-services":
      return inWords(operation.keys[index]!);
    case "set-addresses":
      return `service address ${operation.entries[index]![0]}`;
    case "delete-addresses":
      return `service address ${operation.keys[index]!}`;
  }
}

/** The service with an id: one that the plan writes, or one that is there. */
function serviceOf(
  id: number,
  operations: readonly Operation[],
  { services }: ServiceTables,
): ServiceKey | undefined {
  const written = operations.flatMap((operation) =>
    operation.kind === "set-services" ? operation.entries : [],
  );
  return [...written, ...services.entries()].find(([, entry]) => entry.id === id)?.[0];
}

function serviceText({ address, port, protocol }: ServiceKey, name = "that is removed"): string {
  return `service ${name} (${address}:${port}/${protocol})`;
}

function reasonOf({ message, errno }: EntryError): string {
  return errno === constants.errno.E2BIG
    ? "the datapath has room for no more of them; configure fewer services or backends"
    : message;
}

function logRemoval(operation: Operation, log: Logger): void {
  if (operation.kind === "delete-services")
    for (const key of operation.keys) log.info({ ...key }, "removed service drained");
  if (operation.kind !== "set-services") return;
  for (const [key, { drain, drainEnds }] of operation.entries) {
    if (drainEnds === 0n) continue;
    const about = { ...key, drain: formatDuration(drain) };
    log.info(about, "service removed; flows that it has go on until it is drained");
  }
}
