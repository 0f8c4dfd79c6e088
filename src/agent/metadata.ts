import { readFileSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";
import type { Logger } from "pino";
import type { Config } from "../config/schema.ts";
import { createBuiltin, type GuestMetadataSource } from "../metadata/builtin.ts";
import { createMetadataService } from "../metadata/service.ts";
import {
  isSecretExposed,
  type MetadataSettings,
  MetadataSettingsError,
  readSettings,
} from "../metadata/settings.ts";
import type { MetadataStats } from "../metadata/stats.ts";
import type { GuestIdentity } from "../metadata/types.ts";
import { AgentError } from "./errors.ts";
import type { Check } from "./host-checks.ts";
import { hostAddress } from "./metadata-addresses.ts";
import { loadMetadataKey } from "./metadata-key.ts";

/** The metadata service of an agent: it listens while some service is of kind metadata. */
export interface AgentMetadata {
  /** Takes a new configuration, and reads secret and certificates anew. What is wrong with them, one line each; then nothing has changed. */
  configure(config: Config): string[];
  stats(): MetadataStats;
  close(): void;
}

/** What `createAgentMetadata` needs. */
export interface AgentMetadataOptions {
  config: Config;
  guestOf: (metadataAddress: string) => GuestIdentity | undefined;
  source: GuestMetadataSource;
  log: Logger;
}

/** See `AgentMetadata`. Throws `AgentError` where secret, certificates or the key of tokens cannot be read. */
export function createAgentMetadata({ config, guestOf, source, log }: AgentMetadataOptions): AgentMetadata {
  let settings = settingsOf(config);
  const service = createMetadataService({
    settings,
    guestOf,
    builtin: createBuiltin(source),
    tokenKey: { secret: loadMetadataKey(config.agent.stateDir), bootId: readBootId() },
    log,
  });
  follow(config);

  function follow({ services, agent, metadata }: Config): void {
    const isWanted = services.some(({ kind }) => kind === "metadata");
    service.listen(isWanted ? metadataBackend({ agent, metadata }) : undefined);
    const { secretFile } = metadata.proxy ?? {};
    if (secretFile !== undefined && isSecretExposed(secretFile)) {
      log.warn(
        { file: secretFile, mend: "chmod o-r" },
        "everybody on this host can read the metadata secret",
      );
    }
  }

  return {
    configure(next) {
      const before = settings;
      try {
        settings = settingsOf(next);
      } catch (error) {
        if (error instanceof AgentError) return [error.message];
        throw error;
      }
      follow(next);
      if (isSame(before, settings)) return [];
      service.configure(settings);
      log.info({ mode: settings.mode }, "metadata settings taken over");
      return [];
    },
    stats: service.stats,
    close: service.close,
  };
}

/** Another one each time the host is started (random(4)). */
function readBootId(): string {
  return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
}

/**
 * For `onlink check`: whether secret and certificates of mode proxy can be read. Of a secret in the environment nothing is said, since the
 * agent's environment is another.
 */
export function checkMetadata({ services, metadata }: Config): Check[] {
  const { mode, proxy } = metadata;
  if (mode !== "proxy" || !services.some(({ kind }) => kind === "metadata")) return [];
  const secretEnv = proxy?.secretEnv;
  try {
    readSettings(metadata, secretEnv === undefined ? {} : { [secretEnv]: "any" });
    return [{ name: "metadata", ok: true, detail: "what the metadata service reads can be read" }];
  } catch (error) {
    if (!(error instanceof MetadataSettingsError)) throw error;
    return [{ name: "metadata", ok: false, detail: error.message }];
  }
}

/** Of the certificates that a TLS context was made of, nothing can be seen in it: with one, no settings are known to be the same. */
function isSame(before: MetadataSettings, after: MetadataSettings): boolean {
  const overTls = after.proxy?.upstreams.some(({ tls }) => tls !== undefined);
  return !overTls && isDeepStrictEqual(before, after);
}

function settingsOf({ metadata }: Config): MetadataSettings {
  try {
    return readSettings(metadata, process.env);
  } catch (error) {
    if (error instanceof MetadataSettingsError) throw new AgentError(error.message);
    throw error;
  }
}

/** Where the metadata service listens: an address that guests reach through a service alone, since the datapath is what leads to it. */
function metadataBackend({ agent, metadata }: Pick<Config, "agent" | "metadata">) {
  return { address: hostAddress(agent.metadataAddresses).address, port: metadata.port };
}

/** The configuration with the metadata service as the backend of services of kind metadata. */
export function withMetadataBackends(config: Config): Config {
  const backends = [metadataBackend(config)];
  return {
    ...config,
    services: config.services.map((service) =>
      service.kind === "metadata" ? { ...service, backends } : service,
    ),
  };
}
