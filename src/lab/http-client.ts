/**
 * An HTTP client that misses nothing, for tests: `node http-client.js COUNT URL...` asks `COUNT` times in all, on eight connections at a time, four requests
 * on each, by turns from each URL. It takes no second try: a refused, broken or silent connection, or any status but 200, is a failure.
 *
 * Writes `asked N` after every 500 requests, and in the end a `RequestCount` as JSON.
 */
import { connect } from "node:net";

/** What became of the requests. */
export interface RequestCount {
  good: number;
  /** What went wrong, one for each request that failed. */
  failures: string[];
}

const AT_A_TIME = 8;
const ON_EACH = 4;
/** Longer than TCP takes to send something again, in ms. */
const PATIENCE = 10_000;

const [total = "0", ...urls] = process.argv.slice(2);
const result: RequestCount = { good: 0, failures: [] };
let asked = 0;
let connections = 0;

/** One connection with its requests, one after the other. */
function converse(url: URL): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect({ host: url.hostname, port: Number(url.port || 80) });
    let received = "";
    let left = ON_EACH;
    let failed = false;
    let done = false;
    const ask = () => {
      asked++;
      left--;
      if (asked % 500 === 0) console.log(`asked ${asked}`);
      socket.write(`GET ${url.pathname} HTTP/1.1\r\nHost: ${url.host}\r\n\r\n`);
    };
    const fail = (reason: string) => {
      failed = true;
      result.failures.push(`${url.href}: ${reason}`);
      socket.destroy();
    };
    socket.setTimeout(PATIENCE, () => fail("no answer"));
    socket.once("connect", ask);
    socket.on("error", (error) => fail(error.message));
    socket.on("data", (data) => {
      received += data;
      const head = /^HTTP\/1\.1 (\d+).*?\r\ncontent-length: (\d+).*?\r\n\r\n/is.exec(received);
      if (head === null || received.length < head[0].length + Number(head[2])) return;
      received = "";
      if (head[1] !== "200") return fail(`status ${head[1]}`);
      result.good++;
      if (left > 0) return ask();
      done = true;
      socket.end();
    });
    socket.once("close", () => {
      if (!done && !failed) fail("closed before the answer");
      resolve();
    });
  });
}

async function worker(): Promise<void> {
  while (connections * ON_EACH < Number(total)) {
    const url = urls[connections++ % urls.length]!;
    await converse(new URL(url));
  }
}

await Promise.all(Array.from({ length: AT_A_TIME }, worker));
console.log(JSON.stringify(result));
