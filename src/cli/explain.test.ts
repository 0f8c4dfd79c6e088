import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { decodeText } from "./explain.ts";
import { main } from "./main.ts";

let folder: string;
let output: { out: string; err: string };

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "onlink-explain-"));
  output = { out: "", err: "" };
  vi.spyOn(process.stdout, "write").mockImplementation((text) => {
    output.out += text;
    return true;
  });
  vi.spyOn(console, "error").mockImplementation((text) => {
    output.err += `${text}\n`;
  });
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true });
});

const fixture = (name: string) => fileURLToPath(new URL(`../endpoint/fixtures/${name}.txt`, import.meta.url));

function file(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

function onStandardInput(text: string): void {
  const stdin = Object.assign(Readable.from([Buffer.from(text)]), { isTTY: false });
  vi.spyOn(process, "stdin", "get").mockReturnValue(stdin as unknown as typeof process.stdin);
}

describe("onlink explain", () => {
  it("is 0 for the seed's Linux guest", async () => {
    expect(await main(["explain", fixture("seed-linux")])).toBe(0);
    expect(output.out).toBe(
      [
        "guest      Linux (ip route, ip neigh)",
        "interface  ens3",
        "next hop   10.0.1.1",
        "source     10.0.1.3",
        "neighbour  10.0.1.1 00:00:5e:00:01:00 delay (line 9)",
        "because    the longest prefix that holds 169.254.169.254 is 0.0.0.0/0 (line 3), via 10.0.1.1",
        "",
        "169.254.169.254 goes through 10.0.1.1 on ens3, whose MAC 00:00:5e:00:01:00 is known (DELAY: being confirmed just now): reachable.",
        "",
      ].join("\n"),
    );
  });

  it("is 1 for the seed's Windows guest, on standard input, with the mends", async () => {
    onStandardInput(readFileSync(fixture("seed-windows"), "utf8"));
    expect(await main(["explain"])).toBe(1);
    expect(output.out).toContain("guest      Windows (route print, netsh show neighbors)");
    expect(output.out).toContain("next hop   169.254.169.254 itself, by ARP");
    expect(output.out).toContain("nobody answered (Unreachable): not reachable");
    expect(output.out).toContain("mend 2:");
    expect(output.out).toContain("    route add 169.254.169.254 mask 255.255.255.255 10.0.0.1\n");
  });

  it("takes several files for one guest", async () => {
    const routes = file("routes", "default via 10.0.1.1 dev eth0\n169.254.0.0/16 dev eth0 scope link\n");
    const neighbours = file("neighbours", "169.254.169.253 dev eth0 lladdr 00:00:5e:00:01:00 REACHABLE\n");
    expect(await main(["explain", "--to", "169.254.169.253", routes, neighbours])).toBe(0);
    expect(await main(["explain", routes, neighbours])).toBe(1);
  });

  it("prints one JSON object", async () => {
    expect(await main(["explain", "--json", fixture("ec2-windows")])).toBe(1);
    expect(JSON.parse(output.out)).toMatchObject({
      system: "windows",
      reachable: false,
      decision: { way: "gateway", connected: false, rule: "longest-prefix" },
      notUnderstood: [],
    });
  });

  it("tells the lines that it did not understand, and how many more there are", async () => {
    const odd = file("odd", `default via 10.0.1.1 dev eth0\n\n${"10.9.9.9 what?\n".repeat(7)}`);
    expect(await main(["explain", odd])).toBe(0);
    expect(output.out).toContain("line 3 was not understood: 10.9.9.9 what?\n");
    expect(output.out).toContain("and 2 more lines were not understood\n");
  });

  it.each([
    [["explain", "nothing"], "no routing or neighbour table in it"],
    [["explain", "--to", "10.0.0.1", "nothing"], "10.0.0.1 is not an address in 169.254.0.0/16"],
    [["explain", "missing"], "missing: cannot be read"],
  ])("%j is 2", async (args, words) => {
    file("nothing", "bash: ip: command not found\n");
    expect(
      await main(args.map((arg, at) => (at > 0 && !/^(--|1)/.test(arg) ? join(folder, arg) : arg))),
    ).toBe(2);
    expect(output.err).toContain(words);
    expect(output.out).toBe("");
  });

  it("says with its help what its exit status means", async () => {
    expect(await main(["explain", "--help"])).toBe(0);
    expect(output.out).toContain("Examples:\n  onlink explain");
    expect(output.out).toContain("1  not reachable");
  });
});

describe("decodeText", () => {
  it("reads what PowerShell writes by >, and UTF-8 with or without a mark, and bytes of old code pages", () => {
    const text = "Schnittstelle für 10.0.0.1\r\n";
    const little = Buffer.from(`\ufeff${text}`, "utf16le");
    expect(decodeText(little)).toBe(text);
    expect(decodeText(Buffer.from(little).swap16())).toBe(text);
    expect(decodeText(Buffer.from(`\ufeff${text}`))).toBe(text);
    expect(decodeText(Buffer.from(text))).toBe(text);
    expect(decodeText(Buffer.from(text, "latin1"))).toBe("Schnittstelle f\ufffdr 10.0.0.1\r\n");
  });
});
