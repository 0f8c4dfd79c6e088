import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { type AddressInfo, connect, createServer } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { closeSocket, openSocketSet } from "./socket-calls.ts";
import { connectTcp, listenTcp, type TcpConnection, type TcpEvents } from "./tcp.ts";
import { freePort } from "./testing.ts";

const cleanUp: Array<() => void> = [];
afterEach(() => {
  for (const step of cleanUp.splice(0).reverse()) step();
});

/** What was heard of a connection, in words, and the bytes. */
function recorder(changes: Partial<TcpEvents> = {}) {
  const heard: string[] = [];
  const parts: Buffer[] = [];
  const note = (word: string) => void heard.push(word);
  const events: TcpEvents = {
    connected: () => note("connected"),
    data: (memory, from, to) => void parts.push(Buffer.from(memory.subarray(from, to))),
    drained: () => note("drained"),
    ended: () => note("ended"),
    closed: (reason) => note(`closed ${reason}`),
    ...changes,
  };
  return { events, heard, bytes: () => Buffer.concat(parts) };
}

/** A server of Node.js, and where it listens. */
async function nodeServer(
  serve: Parameters<typeof createServer>[1],
): Promise<{ address: string; port: number }> {
  const server = createServer({ allowHalfOpen: true }, serve).listen(0, "127.0.0.1");
  cleanUp.push(() => server.close());
  await once(server, "listening");
  return { address: "127.0.0.1", port: (server.address() as AddressInfo).port };
}

async function listen(accept: (connection: TcpConnection, peer: string) => TcpEvents): Promise<number> {
  const port = await freePort();
  const listener = listenTcp({ address: "127.0.0.1", port }, accept);
  cleanUp.push(() => listener.close());
  return port;
}

describe("a connection that is accepted", () => {
  it("tells its peer, gives back what it gets, and ends in order", async () => {
    const peers: string[] = [];
    const port = await listen((connection, peer) => {
      peers.push(peer);
      return recorder({
        data: (memory, from, to) => void connection.write(memory.subarray(from, to)),
        ended: () => connection.end(),
      }).events;
    });
    const client = connect({ port, host: "127.0.0.1", localAddress: "127.0.0.9" });
    const parts: Buffer[] = [];
    client.on("data", (bytes) => parts.push(bytes));
    client.end("some text");
    await once(client, "close");
    expect(Buffer.concat(parts).toString()).toBe("some text");
    expect(peers).toEqual(["127.0.0.9"]);
  });

  it("may be closed while it is looked at", async () => {
    const { events, heard } = recorder();
    const port = await listen((connection) => {
      connection.destroy();
      return events;
    });
    const client = connect(port, "127.0.0.1").on("error", () => {});
    await once(client, "close");
    expect(heard).toEqual([]);
  });
});

it("a connection ends in order where it is destroyed, and breaks where it is aborted or has not sent all", async () => {
  const port = await listen((connection) => {
    const end = (memory: Buffer, from: number, to: number) => {
      const word = memory.toString("latin1", from, to);
      // More than all buffers on the way hold.
      connection.write(word === "destroy large" ? Buffer.alloc(50_000_000) : "answer");
      if (word === "abort") connection.abort();
      else connection.destroy();
    };
    return recorder({ data: end }).events;
  });
  const outcome = async (word: string) => {
    const { events, heard } = recorder();
    const connection = connectTcp({ address: "127.0.0.1", port }, events);
    await expect.poll(() => heard).toContain("connected");
    connection.write(word);
    await expect.poll(() => heard.length).toBeGreaterThan(1);
    connection.destroy();
    return heard[1];
  };
  expect(await outcome("destroy")).toBe("ended");
  expect(await outcome("abort")).toBe("closed ECONNRESET");
  expect(await outcome("destroy large")).toBe("closed ECONNRESET");
});

it("what follows an urgent byte is received, though recv(2) stops there", async () => {
  const { events, bytes } = recorder();
  let accepted: TcpConnection | undefined;
  const port = await listen((connection) => {
    accepted = connection;
    connection.setReading(false);
    return events;
  });
  const program = `
import socket
to = socket.create_connection(("127.0.0.1", ${port}))
to.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
to.send(b"before ")
to.send(b"!", socket.MSG_OOB)
to.send(b"after")
print("sent", flush=True)
input()`;
  const client = spawn("python3", ["-c", program]);
  cleanUp.push(() => client.kill());
  await once(client.stdout, "data");
  await expect.poll(() => accepted).toBeDefined();
  accepted?.setReading(true);
  await expect.poll(() => bytes().toString()).toBe("before after");
  accepted?.destroy();
});

describe("what is written", () => {
  it("arrives whole and in order, text and bytes of any length, also before an end or a close", async () => {
    const noise = randomBytes(200_000);
    const lengths = [1, 20_000, 3, 70_000, 10, 65_536, 16_384, 5, 0, 200_000, 2];
    const parts = lengths.map((length, i) => {
      const bytes = noise.subarray(0, length);
      return i % 3 === 0 ? bytes : bytes.toString("latin1");
    });
    for (const finish of ["end", "destroy"] as const) {
      // What is destroyed takes nothing more: that much goes without a wait.
      const written = finish === "end" ? parts : parts.slice(0, 3);
      const port = await listen(
        (connection) =>
          recorder({
            data() {
              for (const part of written) connection.write(part);
              connection[finish]();
            },
          }).events,
      );
      const received: Buffer[] = [];
      const client = connect(port, "127.0.0.1").on("data", (bytes) => received.push(bytes));
      client.write("begin");
      await once(client, "close");
      const sent = Buffer.concat(written.map((part) => Buffer.from(part as string, "latin1")));
      expect(Buffer.concat(received).equals(sent), finish).toBe(true);
    }
  });

  it("goes out together where it is written together", async () => {
    const port = await listen(
      (connection) =>
        recorder({
          data() {
            for (const part of ["a", Buffer.from("b"), "c"]) connection.write(part);
          },
        }).events,
    );
    const client = connect(port, "127.0.0.1");
    client.write("begin");
    const [first] = await once(client, "data");
    expect(first.toString()).toBe("abc");
    client.destroy();
  });
});

it("what came is sent on as it was, however late that is", async () => {
  const sent = randomBytes(6_000_000);
  const port = await listen(
    (connection) =>
      recorder({
        data: (memory, from, to) => void connection.write(memory.subarray(from, to)),
        ended: () => connection.end(),
      }).events,
  );
  const client = connect(port, "127.0.0.1").pause();
  // More than all buffers on the way hold: part of it waits, while other connections receive too.
  await new Promise<void>((resolve) => client.write(sent, () => resolve()));
  const other = connect(port, "127.0.0.1");
  other.end(randomBytes(100_000));
  await once(other.resume(), "close");
  const received: Buffer[] = [];
  client.on("data", (bytes) => received.push(bytes)).end();
  await once(client.resume(), "close");
  expect(Buffer.concat(received).equals(sent)).toBe(true);
});

describe("a connection that is made", () => {
  it("carries more than fits any buffer, and says when there is room again", async () => {
    const sent = randomBytes(8_000_000);
    const at = await nodeServer((socket) => {
      socket.pipe(socket);
    });
    const { events, heard, bytes } = recorder();
    const connection = connectTcp(at, events);
    await expect.poll(() => heard).toContain("connected");
    expect(connection.write(sent.subarray(0, sent.length - 5))).toBe(false);
    expect(connection.isBlocked()).toBe(true);
    await expect.poll(() => heard, { timeout: 10_000 }).toContain("drained");
    expect(connection.isBlocked()).toBe(false);
    expect(connection.write(sent.subarray(sent.length - 5).toString("latin1"))).toBe(true);
    connection.end();
    await expect.poll(() => heard, { timeout: 10_000 }).toContain("ended");
    expect(bytes().equals(sent)).toBe(true);
    connection.destroy();
    connection.destroy();
    expect(heard.filter((word) => word.startsWith("closed"))).toEqual(["closed undefined"]);
    expect(connection.write("late")).toBe(true);
  });

  it("says why it could not be made", async () => {
    const port = await freePort();
    const refused = recorder();
    connectTcp({ address: "127.0.0.1", port }, refused.events);
    await expect.poll(() => refused.heard).toEqual(["closed ECONNREFUSED"]);
    // connect(2) itself says no: a broadcast address is nobody's.
    const impossible = recorder();
    connectTcp({ address: "255.255.255.255", port: 1 }, impossible.events);
    expect(impossible.heard).toEqual([]);
    await expect.poll(() => impossible.heard).toEqual([expect.stringMatching(/^closed E[A-Z]+$/)]);
  });

  it("says so where it could not be made for lack of descriptors", async () => {
    const limits = await readFile("/proc/self/limits", "utf8");
    const soft = /^Max open files +(\d+)/m.exec(limits)![1];
    const set = `prlimit --pid ${process.pid} --nofile`;
    const shell = spawn("/bin/sh", ["-c", `${set}=1: && echo set && read -r _; ${set}=${soft}:`]);
    await once(shell.stdout, "data");
    const { events, heard } = recorder();
    try {
      connectTcp({ address: "127.0.0.1", port: 1 }, events);
    } finally {
      shell.stdin.end("\n");
      await once(shell, "close");
    }
    await expect.poll(() => heard).toEqual(["closed EMFILE"]);
  });

  it("sends what was written before it was there, also where it does not read", async () => {
    // On the loopback a connection is there at once, unless the server's queue is full: then when it is tried again, after a second.
    const program = `
import socket
server = socket.create_server(("127.0.0.1", 0), backlog=0)
first = socket.create_connection(server.getsockname())
print(server.getsockname()[1], flush=True)
input()
server.accept()
print(server.accept()[0].recv(100).decode(), end="", flush=True)
input()`;
    const server = spawn("python3", ["-c", program]);
    cleanUp.push(() => server.kill());
    // Python may write a line in pieces.
    let printed = "";
    server.stdout.on("data", (bytes) => {
      printed += bytes;
    });
    await expect.poll(() => printed).toMatch(/\n$/);
    const { events, heard } = recorder();
    const connection = connectTcp({ address: "127.0.0.1", port: Number(printed) }, events);
    // In this order: it is tried to send first, and then there is nothing else to wait for.
    connection.write("early");
    await Promise.resolve();
    expect(connection.isBlocked()).toBe(true);
    connection.setReading(false);
    server.stdin.write("\n");
    await expect.poll(() => heard, { timeout: 10_000 }).toEqual(["connected", "drained"]);
    await expect.poll(() => printed).toMatch(/early$/);
    connection.destroy();
  });

  it("reads nothing while it is told not to", async () => {
    const at = await nodeServer((socket) => {
      socket.on("data", () => socket.write("answer"));
      socket.on("error", () => {});
    });
    const { events, heard, bytes } = recorder();
    const connection = connectTcp(at, events);
    await expect.poll(() => heard).toContain("connected");
    connection.setReading(false);
    connection.write("question");
    // One that is made later has its answer; this one does not.
    const other = recorder();
    const second = connectTcp(at, other.events);
    await expect.poll(() => other.heard).toContain("connected");
    second.write("question");
    await expect.poll(() => other.bytes().toString()).toBe("answer");
    expect(bytes().length).toBe(0);
    connection.setReading(true);
    await expect.poll(() => bytes().toString()).toBe("answer");
    connection.destroy();
    second.destroy();
  });

  it("hears of a peer that breaks off, whether it reads or not", async () => {
    const at = await nodeServer((socket) => {
      socket.on("error", () => {});
      socket.once("data", () => socket.resetAndDestroy());
    });
    for (const reading of [true, false]) {
      const { events, heard } = recorder();
      const connection = connectTcp(at, events);
      await expect.poll(() => heard).toContain("connected");
      connection.setReading(reading);
      connection.write("break off");
      await expect.poll(() => heard).toContain("closed ECONNRESET");
    }
  });
});

it("a place that is taken cannot be listened at", async () => {
  const at = await nodeServer(() => {});
  expect(() => listenTcp(at, () => recorder().events)).toThrow(/cannot listen on 127.0.0.1:\d+ .*EADDRINUSE/);
});

it("a set that cannot be waited for says so, and is not asked again and again", () => {
  const set = openSocketSet();
  closeSocket(set.fd);
  expect(() => set.poll(() => {})).toThrow(/cannot wait for sockets \(epoll_pwait2: EBADF\)/);
});
