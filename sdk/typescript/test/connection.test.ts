import assert from "node:assert/strict";
import { createServer } from "node:http2";
import type { IncomingHttpHeaders } from "node:http2";
import * as net from "node:net";
import type { AddressInfo, Server } from "node:net";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { Code, ConnectError } from "@connectrpc/connect";
import type { ServiceImpl } from "@connectrpc/connect";
import { connectNodeAdapter, Http2SessionManager } from "@connectrpc/connect-node";
import { Connection } from "../src/connection.js";
import { Client } from "../src/index.js";
import { BrokerService, TaskState } from "../src/v1.js";

/** Resolves with the address of what listens on a port of its own until the test ends. */
async function served(t: TestContext, server: Server): Promise<AddressInfo> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => { server.close(); });
  return server.address() as AddressInfo;
}

async function broker(
  t: TestContext,
  answers: Partial<ServiceImpl<typeof BrokerService>>,
): Promise<{ address: string; headers: IncomingHttpHeaders[] }> {
  const headers: IncomingHttpHeaders[] = [];
  const handler = connectNodeAdapter({
    routes: (router) => router.service(BrokerService, answers),
  });
  const { port } = await served(t, createServer((request, response) => {
    headers.push(request.headers);
    handler(request, response);
  }));
  return { address: `http://127.0.0.1:${port}`, headers };
}

/** Passes on between its clients and a port, until it is told to end them at their next word. */
class Cutter {
  isCutting = false;
  readonly server: Server;

  constructor(port: number) {
    this.server = net.createServer((near) => {
      const far = net.connect(port, "127.0.0.1");
      near.on("error", () => far.destroy());
      far.on("error", () => near.destroy());
      near.on("close", () => far.destroy());
      far.pipe(near);
      near.on("data", (data) => {
        if (!this.isCutting) {
          far.write(data);
          return;
        }
        far.unpipe(near);
        near.end();
        this.isCutting = false;
      });
    });
  }
}

test("a connection that ends while it is verified is made anew", { timeout: 30_000 },
  async (t) => {
    const http = createServer((_request, response) => { response.end(); });
    const cutter = new Cutter((await served(t, http)).port);
    const { port } = await served(t, cutter.server);
    const made: Http2SessionManager[] = [];
    const connection = new Connection(() => {
      // Each call finds that it was idle for long.
      const pings = { pingIntervalMs: -1, pingTimeoutMs: 60_000 };
      const manager = new Http2SessionManager(`http://127.0.0.1:${port}`, pings);
      made.push(manager);
      return manager;
    }, 300);
    t.after(() => { connection.close(); });
    const call = async (): Promise<void> => {
      const stream = await connection.request("GET", "/", {}, {});
      stream.resume().end();
      await new Promise((resolve) => stream.once("close", resolve));
    };
    await call();
    assert.equal(made.length, 1);
    cutter.isCutting = true;
    await assert.rejects(call(), (error) =>
      error instanceof ConnectError && error.code === Code.Unavailable);
    await call();
    await call();
    assert.equal(made.length, 2);
  });

test("a closed client ends its calls and connects no more", { timeout: 30_000 }, async (t) => {
  let arrived: () => void = () => undefined;
  const both = new Promise<void>((resolve) => {
    let calls = 0;
    arrived = () => {
      calls += 1;
      if (calls === 2) resolve();
    };
  });
  const end = new AbortController();
  t.after(() => { end.abort(); });
  const held = new Promise<never>((_, reject) => {
    end.signal.addEventListener("abort", () => { reject(new Error("the end")); });
  });
  held.catch(() => undefined);
  const { address, headers } = await broker(t, {
    getTask: () => {
      arrived();
      return held;
    },
    async* watchTasks() {
      arrived();
      yield await held;
    },
  });
  const client = new Client({ address });
  const watching = client.watch({ taskIds: ["t"] });
  const calls = [client.get("t"), watching.next()].map((call) =>
    assert.rejects(call, { code: "CANCELLED", text: "the connection was closed" }));
  await both;
  client.close();
  await Promise.all(calls);
  await assert.rejects(client.get("t"), { code: "CANCELLED" });
  assert.equal(headers.length, 2);
});

test("what a call says of its deadline is whole milliseconds", async (t) => {
  const { address, headers } = await broker(t, { getTask: () => ({ task: { id: "t" } }) });
  using client = new Client({ address });
  await client.get("t", { timeoutMs: 5_000.5 });
  await client.get("t", { timeoutMs: Infinity });
  for (const one of headers) assert.match(String(one["grpc-timeout"]), /^\d{1,8}m$/);
});

test("a delete that is repeated after a lost answer is done", async (t) => {
  let calls = 0;
  const { address } = await broker(t, {
    deleteTask: () => {
      calls += 1;
      throw calls === 1
        ? new ConnectError("lost", Code.Unavailable)
        : new ConnectError("no such task", Code.NotFound);
    },
  });
  using client = new Client({ address });
  await client.delete("t");
  assert.equal(calls, 2);
});

test("a broker that answers a wait early is not asked in a circle", async (t) => {
  let calls = 0;
  const { address } = await broker(t, {
    waitTask: () => {
      calls += 1;
      return { task: { id: "t", state: TaskState.RUNNING } };
    },
  });
  using client = new Client({ address });
  await client.wait("t", { forMs: 700 });
  assert.ok(calls <= 5, `${calls} calls`);
});
