import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { concatBytes } from "../packet/bytes.ts";
import { windowsArpRequest } from "../packet/fixtures.ts";
import { pcapngHeader, pcapngPacket } from "../packet/pcap.ts";
import { main } from "./main.ts";
import { formatPacket } from "./trace.ts";

let folder: string;
let file: string;
let output: string;
let errors: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "onlink-trace-"));
  file = join(folder, "guest.pcapng");
  output = "";
  errors = "";
  vi.spyOn(process.stdout, "write").mockImplementation((text) => {
    output += text;
    return true;
  });
  vi.spyOn(console, "error").mockImplementation((text) => {
    errors += `${text}\n`;
  });
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true });
});

const T = 1_700_000_000_000_000_000n;
const ipv6 = windowsArpRequest().with(12, 0x86).with(13, 0xdd);
const capture = concatBytes(
  pcapngHeader("tap0"),
  pcapngPacket(T, windowsArpRequest()),
  pcapngPacket(T + 1_234_567_000n, windowsArpRequest()),
  pcapngPacket(T + 2_000_000_000n, ipv6),
  pcapngPacket(T + 3_000_000_000n, windowsArpRequest().fill(0, 38)),
);

function writeConfig(): string {
  const path = join(folder, "onlink.yaml");
  writeFileSync(
    path,
    'services: [{ name: web, address: 169.254.169.254, port: 80, backends: ["127.0.0.1:80"] }]\ninterfaces: [{ name: "tap*" }]\n',
  );
  return path;
}

describe("onlink trace", () => {
  it("shows each frame with what becomes of it, and a summary", async () => {
    writeFileSync(file, capture);
    expect(await main(["trace", file, "--config", writeConfig(), "--interface", "tap0"])).toBe(0);
    const asks =
      "02:21:87:a4:05:0c > ff:ff:ff:ff:ff:ff, ARP request who-has 169.254.169.254 tell 172.31.0.7, length 42";
    const answered = "ARP request for 169.254.169.254: would be answered with 00:00:5e:00:01:00 (A1)";
    expect(output).toBe(`\
    1     0.000000  ${asks}
                    ${answered}
    2     1.234567  ${asks}
                    ${answered}
    3     2.000000  02:21:87:a4:05:0c > ff:ff:ff:ff:ff:ff, IPv6, length 42
                    IPv6: would be left alone, neither ARP nor IPv4 of a vif
    4     3.000000  02:21:87:a4:05:0c > ff:ff:ff:ff:ff:ff, ARP request who-has 0.0.0.0 tell 172.31.0.7, length 42
                    ARP request for 0.0.0.0: would be left alone, ARP that is not about a service address (A5)

FRAMES  ROW  REASON
2       A1   arp-reply
1       A5   arp-other
1       -    not ARP or IPv4

4 frames, flows opened: 0
`);
  });

  it("gives programs one JSON object a line, the summary last", async () => {
    writeFileSync(file, capture);
    expect(await main(["trace", file, "--config", writeConfig(), "--json"])).toBe(0);
    const lines = output
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(lines[1]).toMatchObject({
      number: 2,
      time: 1234567000,
      from: "guest",
      reason: "arp-reply",
      row: "A1",
    });
    expect(lines.at(-1)).toEqual({
      summary: {
        frames: 4,
        verdicts: [
          { row: "A1", reason: "arp-reply", frames: 2 },
          { row: "A5", reason: "arp-other", frames: 1 },
          { frames: 1 },
        ],
        others: 0,
        flowsOpened: 0,
      },
    });
  });

  it("says what is damaged, after what could be read", async () => {
    writeFileSync(file, capture.subarray(0, capture.length - 4));
    expect(await main(["trace", file, "--config", writeConfig()])).toBe(0);
    expect(output).toMatch(
      /\n3 frames, flows opened: 0\nthe file is damaged, what follows is not read: at byte \d+: /,
    );
  });

  it.each([["a capture without packets", pcapngHeader(), "\n0 frames, flows opened: 0\n"]])(
    "takes %s",
    async (_, bytes, text) => {
      writeFileSync(file, bytes);
      expect(await main(["trace", file, "--config", writeConfig()])).toBe(0);
      expect(output).toBe(text);
    },
  );

  it("says what it cannot read, with 1, and what is wrong with the command line, with 2", async () => {
    expect(await main(["trace", join(folder, "nothing.pcap")])).toBe(1);
    expect(errors).toMatch(/^onlink: cannot read \S+nothing\.pcap: ENOENT/);
    errors = "";
    writeFileSync(file, "services: []\n");
    expect(await main(["trace", file])).toBe(1);
    expect(errors).toMatch(/^onlink: \S+guest\.pcapng is no capture: the file begins with 0x73657276/);
    errors = "";
    writeFileSync(file, capture);
    expect(await main(["trace", file, "--config", writeConfig(), "--interface", "eth0"])).toBe(2);
    expect(errors).toContain("no entry of interfaces in the configuration fits eth0");
    expect(await main(["trace", file, "--config", join(folder, "nothing.yaml")])).toBe(2);
    expect(await main(["trace"])).toBe(2);
    expect(output).toBe("");
  });
});

it("a packet without a time, and one that the capture cut short, say so", () => {
  const packet = {
    number: 7,
    time: undefined,
    length: 1514,
    captured: 96,
    frame: "FRAME",
    sentence: "SENTENCE",
  };
  expect(formatPacket({ ...packet, from: "guest", flowsOpened: 0 })).toBe(
    "    7            -  FRAME (96 of 1514 bytes captured)\n                    SENTENCE\n",
  );
});
