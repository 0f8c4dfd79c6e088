import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { parseConfig } from "../config/load.ts";
import { formatImported } from "./import.ts";
import { main } from "./main.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "onlink-import-"));
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true });
});

/** Runs the command on a file with this text. */
async function run(text: string) {
  const file = join(folder, "vrouter");
  writeFileSync(file, text);
  const written = { stdout: "", stderr: "" };
  for (const stream of ["stdout", "stderr"] as const) {
    vi.spyOn(process[stream], "write").mockImplementation((chunk) => {
      written[stream] += chunk;
      return true;
    });
  }
  vi.spyOn(console, "error").mockImplementation((line) => {
    written.stderr += `${line}\n`;
  });
  const code = await main(["import", "contrail", file]);
  vi.restoreAllMocks();
  return { code, ...written };
}

const entry = (name: string, address: string) =>
  `{"linklocal_service_name":"${name}","linklocal_service_ip":"${address}","linklocal_service_port":80,` +
  `"ip_fabric_service_ip":["10.0.0.5"],"ip_fabric_service_port":8775}`;
const vrouter = (...entries: string[]) =>
  `{"global-vrouter-config":{"linklocal_services":{"linklocal_service_entry":[${entries}]}}}`;

describe("onlink import contrail", () => {
  it("writes a configuration that is right, and notes", async () => {
    const { code, stdout, stderr } = await run(vrouter(entry("metadata", "169.254.169.254")));
    expect(code).toBe(0);
    expect(parseConfig(stdout, "onlink.yaml")).toMatchObject({
      ok: true,
      config: {
        services: [{ name: "metadata", kind: "metadata" }],
        metadata: { mode: "proxy", proxy: { upstream: [{ host: "10.0.0.5", port: 8775 }] } },
      },
    });
    expect(stderr).toMatch(/^note: metadata: the shared secret/);
    expect(stdout).toContain("# Note: metadata: the shared secret");
  });

  it("says what it left out, in the file too, by status 1", async () => {
    const { code, stdout, stderr } = await run(vrouter(entry("web", "169.254.1.1"), entry("v6", "fd00::1")));
    expect(code).toBe(1);
    expect(stderr).toContain('left out: service "v6": its address "fd00::1" is not IPv4\n');
    expect(stdout).toContain('# Left out: service "v6": its address "fd00::1" is not IPv4\n');
    expect(parseConfig(stdout, "onlink.yaml").ok).toBe(true);
  });

  it("writes nothing where there is nothing to carry over, or the input is something else", async () => {
    const nothing = await run(vrouter(entry("v6", "fd00::1")));
    expect(nothing).toMatchObject({ code: 1, stdout: "" });
    expect(nothing.stderr).toContain("has no service that onlink can offer");
    for (const text of ["", "{", "<a>", "{}"]) {
      const wrong = await run(text);
      expect(wrong).toMatchObject({ code: 2, stdout: "" });
      expect(wrong.stderr).toMatch(/^(error: )?onlink import contrail: \/.*: .+\n$/);
    }
  });

  it("lets no name out of its comment", () => {
    const text = formatImported({
      config: { services: [], interfaces: [] },
      lost: [`service ${JSON.stringify("a\nservices: []")}`],
      notes: [],
    });
    expect(text.split("\n").filter((line) => !line.startsWith("#"))).toEqual([
      "services: []",
      "interfaces: []",
      "",
    ]);
  });
});
