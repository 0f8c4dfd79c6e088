import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type MetadataConfig, metadataSchema } from "../config/metadata-service.ts";
import { isSecretExposed, MetadataSettingsError, readSettings } from "./settings.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "onlink-settings-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

function configOf(proxy: object): MetadataConfig {
  return metadataSchema.parse({ mode: "proxy", proxy: { upstream: "http://10.0.0.5", ...proxy } });
}

function secretOf(proxy: object, env: NodeJS.ProcessEnv = {}): string | undefined {
  return readSettings(configOf(proxy), env).proxy?.secret;
}

describe("the secret", () => {
  it("comes from the file, the environment or the configuration", () => {
    const file = join(folder, "secret");
    writeFileSync(file, " with blanks \r\n");
    expect(secretOf({ secretFile: file })).toBe(" with blanks ");
    expect(secretOf({ secretEnv: "SECRET" }, { SECRET: "from env" })).toBe("from env");
    expect(secretOf({ secret: "given" })).toBe("given");
    expect(secretOf({})).toBeUndefined();
  });

  it("must be there, in one line, and is in no message", () => {
    const file = join(folder, "secret");
    writeFileSync(file, "two\nlines\n");
    for (const [proxy, message] of [
      [{ secretFile: file }, `metadata.proxy.secretFile: ${file} holds no secret`],
      [{ secretFile: `${file}x` }, "metadata.proxy.secretFile: cannot be read: ENOENT"],
      [{ secretEnv: "NONE" }, "metadata.proxy.secretEnv: the environment variable NONE is not set"],
      [{ secretEnv: "WRONG" }, "metadata.proxy.secretEnv: the environment variable WRONG is no secret"],
    ] as const) {
      const read = () => secretOf(proxy, { WRONG: "two\nlines" });
      expect(read).toThrow(MetadataSettingsError);
      expect(read).toThrow(message);
      expect(read).not.toThrow(/two|lines\n/);
    }
  });

  it("is exposed where everybody may read its file", () => {
    const file = join(folder, "secret");
    writeFileSync(file, "s");
    chmodSync(file, 0o640);
    expect(isSecretExposed(file)).toBe(false);
    chmodSync(file, 0o644);
    expect(isSecretExposed(file)).toBe(true);
    expect(isSecretExposed(`${file}x`)).toBe(false);
  });
});

it("nothing is read in mode builtin", () => {
  const config = { ...configOf({ secretFile: "/nothing" }), mode: "builtin" as const };
  expect(readSettings(config, {}).proxy).toBeUndefined();
});

it("certificates must be some", () => {
  const file = join(folder, "ca");
  writeFileSync(file, "no certificate");
  const config = configOf({ upstream: "https://10.0.0.5", tls: { cert: file, key: file } });
  expect(() => readSettings(config, {})).toThrow(
    /^metadata\.proxy\.tls: certificates or key cannot be used: /,
  );
});
