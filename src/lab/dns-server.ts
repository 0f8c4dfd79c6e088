/**
 * A DNS server over UDP for tests, run as a process of a lab: `node dns-server.js ADDRESS PORT`. Writes `ready` when
 * it is bound. What it answers is in `dns-answer.ts`.
 */
import { createSocket } from "node:dgram";
import { dnsAnswer } from "./dns-answer.ts";

const [address, port] = process.argv.slice(2);
const socket = createSocket("udp4");
socket.on("message", (query, { address: client, port: clientPort }) => {
  const answer = dnsAnswer(query, client);
  if (answer !== undefined) socket.send(answer, clientPort, client);
});
socket.bind(Number(port), address, () => console.log("ready"));
