/**
 * An HTTP server for tests and benchmarks, run as a process of a lab: `node http-server.js ADDRESS PORT`. Writes
 * `ready` when it listens.
 *
 * - `/bytes/N` answers N bytes;
 * - `/echo` answers the request's body;
 * - anything else answers a `RequestSeen` as JSON.
 */
import { createServer, type IncomingHttpHeaders, type ServerResponse } from "node:http";

/** What the server saw of a request. */
export interface RequestSeen {
  /** The client's address and port. */
  peer: string;
  peerPort: number;
  method: string;
  url: string;
  headers: IncomingHttpHeaders;
}

/** Written again and again for `/bytes/N`: large, so that the server itself does not set the rate. */
const BLOCK = Buffer.alloc(1 << 20, "onlink\n");

/** Longer than Node.js's own 511: hundreds of guests connect at once. */
const BACKLOG = 4096;

function sendBytes(response: ServerResponse, count: number): void {
  response.setHeader("content-length", count);
  let left = count;
  const write = () => {
    while (left > 0) {
      const block = left < BLOCK.length ? BLOCK.subarray(0, left) : BLOCK;
      left -= block.length;
      if (!response.write(block)) {
        response.once("drain", write);
        return;
      }
    }
    response.end();
  };
  write();
}

const [address, port] = process.argv.slice(2);
const server = createServer((request, response) => {
  const { method = "", url = "", headers, socket } = request;
  const count = /^\/bytes\/(\d+)$/.exec(url)?.[1];
  if (count !== undefined) {
    sendBytes(response, Number(count));
  } else if (url === "/echo") {
    request.pipe(response);
  } else {
    const { remoteAddress = "", remotePort = 0 } = socket;
    const seen: RequestSeen = { peer: remoteAddress, peerPort: remotePort, method, url, headers };
    response.setHeader("content-type", "application/json");
    response.end(`${JSON.stringify(seen)}\n`);
  }
});
server.listen({ host: address, port: Number(port), backlog: BACKLOG }, () => console.log("ready"));
