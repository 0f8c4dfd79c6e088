import { type Check, checkCapabilities, checkHost } from "../agent/host-checks.ts";
import { checkMetadata } from "../agent/metadata.ts";
import { bpffsToMount } from "../agent/runtime-dir.ts";
import { formatConfigError, loadConfig } from "../config/load.ts";
import { probeDatapath } from "../datapath/probe.ts";
import { DEFAULT_RUNTIME_DIR } from "./config.ts";
import { EXIT } from "./exit-codes.ts";

/** `onlink check`: is the configuration right, and can this host run it? */
export async function check(options: { config: string; json?: boolean }): Promise<number> {
  const result = loadConfig(options.config);
  const checks: Check[] = [
    ...(result.ok
      ? [{ name: "config", ok: true, detail: options.config }]
      : result.errors.map((error) => ({ name: "config", ok: false, detail: formatConfigError(error) }))),
    checkCapabilities(bpffsToMount(result.ok ? result.config.agent.runtimeDir : DEFAULT_RUNTIME_DIR)),
    ...probeDatapath(),
    ...(result.ok ? [...checkMetadata(result.config), ...checkHost(result.config)] : []),
  ];
  const ok = checks.every((one) => one.ok);
  process.stdout.write(options.json ? `${JSON.stringify({ ok, checks }, null, 2)}\n` : formatChecks(checks));
  return ok ? EXIT.ok : EXIT.failed;
}

/** One line for each check, and under those that failed the mend. */
export function formatChecks(checks: readonly Check[]): string {
  const width = Math.max(...checks.map(({ name }) => name.length));
  return checks
    .map(({ name, ok, detail, mend }) => {
      const line = `${ok ? "ok  " : "FAIL"}  ${name.padEnd(width)}  ${detail}\n`;
      return ok || mend === undefined ? line : `${line}${" ".repeat(width + 8)}mend: ${mend}\n`;
    })
    .join("");
}
