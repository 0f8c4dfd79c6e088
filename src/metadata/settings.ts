import { statSync } from "node:fs";
import { createSecureContext, type SecureContext } from "node:tls";
import { isSecret, type MetadataConfig, type ProxyConfig } from "../config/metadata-service.ts";
import { readRegularFile } from "../config/read-file.ts";
import type { UpstreamAddress } from "./upstream-connection.ts";

/** The section `metadata` with what it names read: secret and certificates. Not for logs. */
export interface MetadataSettings extends Pick<MetadataConfig, "mode" | "requireToken" | "limits"> {
  /** Given in mode proxy. */
  proxy: ProxySettings | undefined;
}

/** How requests are sent on. */
export interface ProxySettings extends Pick<ProxyConfig, "timeouts" | "connections"> {
  upstreams: UpstreamAddress[];
  /** Shared with the upstreams; undefined: instances are not signed. */
  secret: string | undefined;
}

/** Something that the section `metadata` names cannot be used; the message says what, and holds no secret. */
export class MetadataSettingsError extends Error {}

/** Reads what the section names. Throws `MetadataSettingsError`. */
export function readSettings(config: MetadataConfig, env: NodeJS.ProcessEnv): MetadataSettings {
  const { mode, requireToken, limits, proxy } = config;
  if (mode === "builtin" || proxy === undefined)
    return { mode: "builtin", requireToken, limits, proxy: undefined };
  const { upstream, timeouts, connections } = proxy;
  const tls = upstream.some((url) => url.tls) ? readTls(proxy.tls ?? {}) : undefined;
  const upstreams = upstream.map(({ host, port, tls: overTls }) => ({
    host,
    port,
    tls: overTls ? tls : undefined,
  }));
  return {
    mode,
    requireToken,
    limits,
    proxy: { upstreams, secret: readSecret(proxy, env), timeouts, connections },
  };
}

function readSecret(
  { secret, secretFile, secretEnv }: ProxyConfig,
  env: NodeJS.ProcessEnv,
): string | undefined {
  if (secretEnv !== undefined) {
    const found = env[secretEnv];
    if (found !== undefined && isSecret(found)) return found;
    const problem =
      found === undefined || found === "" ? "is not set" : "is no secret of 1-4096 characters in one line";
    throw new MetadataSettingsError(
      `metadata.proxy.secretEnv: the environment variable ${secretEnv} ${problem}`,
    );
  }
  if (secretFile === undefined) return secret;
  const found = readNamed("secretFile", secretFile).replace(/\r?\n$/, "");
  if (isSecret(found)) return found;
  throw new MetadataSettingsError(
    `metadata.proxy.secretFile: ${secretFile} holds no secret; expected 1-4096 characters in one line`,
  );
}

/** Whether everybody may read the file with the secret. */
export function isSecretExposed(file: string): boolean {
  return ((statSync(file, { throwIfNoEntry: false })?.mode ?? 0) & 0o004) !== 0;
}

function readTls({ ca, cert, key }: NonNullable<ProxyConfig["tls"]>): SecureContext {
  const pem = {
    ...(ca !== undefined && { ca: readNamed("tls.ca", ca) }),
    ...(cert !== undefined && { cert: readNamed("tls.cert", cert) }),
    ...(key !== undefined && { key: readNamed("tls.key", key) }),
  };
  try {
    return createSecureContext({ ...pem, minVersion: "TLSv1.2" });
  } catch (error) {
    // OpenSSL's messages name what it cannot read, and quote nothing of it.
    const message = `metadata.proxy.tls: certificates or key cannot be used: ${(error as Error).message}`;
    throw new MetadataSettingsError(
      `${message}; expected PEM, and a key without a passphrase that fits the certificate`,
    );
  }
}

function readNamed(field: string, file: string): string {
  try {
    return readRegularFile(file);
  } catch (error) {
    throw new MetadataSettingsError(`metadata.proxy.${field}: cannot be read: ${(error as Error).message}`);
  }
}
