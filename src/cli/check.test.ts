import { expect, it } from "vitest";
import { formatChecks } from "./check.ts";

it("gives each check a line, and the mend to those that failed", () => {
  expect(
    formatChecks([
      { name: "config", ok: true, detail: "onlink.yaml", mend: "never shown" },
      { name: "capabilities", ok: false, detail: "missing: CAP_NET_ADMIN", mend: "run onlink as root" },
      { name: "device", ok: false, detail: "taken" },
    ]),
  ).toBe(`\
ok    config        onlink.yaml
FAIL  capabilities  missing: CAP_NET_ADMIN
                    mend: run onlink as root
FAIL  device        taken
`);
});
