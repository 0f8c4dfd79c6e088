import type { Logger } from "pino";
import type { Config, Service } from "../config/schema.ts";
import { checkBackend } from "./checks.ts";
import { createHealth, type Health } from "./health.ts";
import { createNames, type Names } from "./names.ts";
import { createLookup } from "./resolver.ts";
import { loadHealth, saveHealth } from "./saved-health.ts";
import { loadNames, saveNames } from "./saved-names.ts";
import { namesOf } from "./services.ts";

/** Follows the names and the health of backends. */
export interface BackendWatch {
  names: Names;
  health: Health;
  close(): void;
}

/** Watches nothing until it is told what to follow. `onChange`: these services have backends with another address or another health. */
export function watchBackends(
  { agent }: Pick<Config, "agent">,
  onChange: (which: (service: Service) => boolean) => void,
  log: Logger,
): BackendWatch {
  const names = createNames({
    lookup: createLookup(agent.metadataAddresses),
    saved: loadNames(agent.stateDir, log),
    save: (saved) => saveNames(agent.stateDir, saved),
    onChange: (name) => onChange((service) => namesOf(service).includes(name)),
    log,
  });
  const health = createHealth({
    checkOnce: checkBackend,
    saved: loadHealth(agent.stateDir, log),
    save: (unhealthy) => saveHealth(agent.stateDir, unhealthy),
    onChange: (name) => onChange((service) => service.name === name),
    log,
  });
  return {
    names,
    health,
    close() {
      names.close();
      health.close();
    },
  };
}
