import assert from "node:assert/strict";
import { createServer } from "node:http2";
import type { Http2Server } from "node:http2";
import type { AddressInfo } from "node:net";
import { describe, test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import type { ServiceImpl } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { ErrorInfoSchema } from "../src/generated/google/rpc/error_details_pb.js";
import { ConfigError, LeaseLostError, Worker } from "../src/index.js";
import type { Handler, Logger } from "../src/index.js";
import { LeasedTaskSchema, LeaseVerdict, TaskState, WorkerService } from "../src/v1.js";
import type { LeasedTask } from "../src/v1.js";

const QUIET: Logger = { info: () => undefined, warn: () => undefined, error: () => undefined };
const LEASE = { taskId: "work-1-x", attempt: 1 };

type Answers = Partial<ServiceImpl<typeof WorkerService>>;

/** What a broker would do with one task, and a note of each call. */
class Fake {
  readonly calls: string[] = [];
  sessions = 0;
  #handedOut = false;
  #server: Http2Server | undefined;
  #noted: () => void = () => undefined;

  async serve(answers: (fake: Fake) => Answers): Promise<string> {
    const implementation = { ...this.#plain(), ...answers(this) };
    const handler = connectNodeAdapter({
      routes: (router) => router.service(WorkerService, implementation),
    });
    const server = createServer((request, response) => { handler(request, response); });
    this.#server = server;
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  note(call: string): void {
    this.calls.push(call);
    this.#noted();
  }

  count(call: string): number {
    return this.calls.filter((one) => one === call).length;
  }

  /** Resolves when the call has come so often. */
  async until(call: string, times = 1): Promise<void> {
    const end = performance.now() + 20_000;
    while (this.count(call) < times) {
      assert.ok(performance.now() < end, `${call} came ${this.count(call)} times`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 1_000);
        this.#noted = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  /** The task, once. */
  handOut(): { tasks: LeasedTask[] } {
    const task = { id: LEASE.taskId, taskType: "work", startTime: {}, state: TaskState.RUNNING };
    const tasks = this.#handedOut ? [] : [create(LeasedTaskSchema, { lease: LEASE, task })];
    this.#handedOut = true;
    return { tasks };
  }

  close(): void {
    this.#server?.close();
  }

  #plain(): Answers {
    return {
      registerWorker: ({ adopted }) => {
        this.sessions += 1;
        this.note(`register ${adopted.map(({ taskId }) => taskId).join()}`);
        return {
          sessionId: `s${this.sessions}`,
          heartbeatInterval: { nanos: 100_000_000 },
          leaseTtl: { nanos: 500_000_000 },
          adopted,
        };
      },
      heartbeat: ({ leases }) => {
        this.note("heartbeat");
        return { leases: leases.map((lease) => ({ lease, verdict: LeaseVerdict.OK })) };
      },
      acquireTasks: () => {
        this.note("acquire");
        return this.handOut();
      },
      completeTask: () => {
        this.note("complete");
        return {};
      },
      releaseTask: ({ failure }) => {
        this.note(`release ${failure?.message ?? ""}`);
        return {};
      },
      failTask: ({ failure }) => {
        this.note(`fail ${failure?.message ?? ""}`);
        return {};
      },
      saveContext: () => {
        this.note("save");
        return { contextVersion: 1n };
      },
      reportProgress: () => ({}),
      deregisterWorker: () => {
        this.note("deregister");
        return {};
      },
    };
  }
}

function refusal(code: Code, reason: string): ConnectError {
  return new ConnectError(reason, code, undefined, [{ desc: ErrorInfoSchema, value: { reason } }]);
}

async function play(
  answers: (fake: Fake) => Answers,
  handler: Handler,
  story: (fake: Fake, worker: Worker) => Promise<void>,
): Promise<Fake> {
  const fake = new Fake();
  const address = await fake.serve(answers);
  const worker = new Worker({ address, handlers: { work: handler }, logger: QUIET, graceMs: 500 });
  await worker.start();
  try {
    await story(fake, worker);
  } finally {
    await worker.stop({ drainMs: 0 }).catch(() => undefined);
    fake.close();
  }
  return fake;
}

const untilStopped: Handler = async (attempt) => {
  await new Promise((resolve) => { attempt.signal.addEventListener("abort", resolve); });
  attempt.signal.throwIfAborted();
};

describe("a worker whose broker", () => {
  test("loses the answer to an acquire asks again with the same id", async () => {
    const ids: string[] = [];
    await play((fake) => ({
      acquireTasks: ({ acquireId }) => {
        ids.push(acquireId);
        if (ids.length === 1) throw new ConnectError("lost", Code.Unavailable);
        return fake.handOut();
      },
    }), () => "done", (fake) => fake.until("complete"));
    assert.equal(ids[0], ids[1]);
    assert.notEqual(ids[1], ids[2]);
  });

  test("loses the answer to the end of an attempt says it again, and heartbeats meanwhile",
    async () => {
      let tries = 0;
      const results: string[] = [];
      const fake = await play((fake) => ({
        completeTask: ({ result }) => {
          results.push(Buffer.from(result?.data ?? "").toString());
          tries += 1;
          if (tries < 4) throw new ConnectError("lost", Code.Unavailable);
          fake.note("complete");
          return {};
        },
      }), () => "done", (fake) => fake.until("complete"));
      assert.deepEqual(results, Array.from({ length: 4 }, () => '"done"'));
      assert.ok(fake.count("heartbeat") >= 3, fake.calls.join());
    });

  test("does not know the session registers again, with what it holds", async () => {
    const fake = await play((fake) => ({
      heartbeat: ({ sessionId, leases }) => {
        if (sessionId === "s1" && leases.length > 0) {
          throw refusal(Code.FailedPrecondition, "UNKNOWN_SESSION");
        }
        fake.note(`heartbeat ${sessionId}`);
        return {};
      },
    }), untilStopped, (fake) => fake.until("heartbeat s2"));
    assert.deepEqual(fake.calls.filter((call) => call.startsWith("register")),
      ["register ", `register ${LEASE.taskId}`]);
    assert.ok(fake.calls.includes("release the worker shuts down"), fake.calls.join());
    assert.equal(fake.calls.at(-1), "deregister");
  });

  test("gives the lease to another one stops, and says nothing more about the task", async () => {
    let saved: unknown;
    const fake = await play((fake) => ({
      heartbeat: ({ leases }) => {
        const verdict = fake.count("save") > 2 ? LeaseVerdict.LOST : LeaseVerdict.OK;
        if (leases.length === 0 && fake.count("save") > 2) fake.note("forgotten");
        return { leases: leases.map((lease) => ({ lease, verdict })) };
      },
      saveContext: () => {
        fake.note("save");
        // The answer never gets through.
        throw new ConnectError("lost", Code.Unavailable);
      },
    }), (attempt) => attempt.save({ context: 1 }).catch((error: unknown) => {
      saved = error;
      throw error;
    }), (fake) => fake.until("forgotten"));
    assert.ok(saved instanceof LeaseLostError);
    assert.ok(!fake.calls.some((call) => /^(complete|fail|release)/.test(call)));
  });

  test("refuses a save as of a lost lease hears nothing more of the task", async () => {
    const fake = await play((fake) => ({
      saveContext: () => {
        fake.note("save");
        throw refusal(Code.Aborted, "LEASE_LOST");
      },
    }), (attempt) => attempt.save({ stage: "one" }), (fake) => fake.until("acquire", 2));
    assert.ok(!fake.calls.some((call) => /^(complete|fail|release)/.test(call)));
  });

  test("cancels while a save is under way keeps the save, and hears of the end", async () => {
    const fake = await play((fake) => ({
      heartbeat: ({ leases }) => {
        const verdict = fake.count("saving") > 0 ? LeaseVerdict.CANCEL : LeaseVerdict.OK;
        return { leases: leases.map((lease) => ({ lease, verdict })) };
      },
      saveContext: async () => {
        fake.note("saving");
        await new Promise((resolve) => setTimeout(resolve, 400));
        fake.note("saved");
        return { contextVersion: 1n };
      },
    }), async (attempt) => {
      await attempt.save({ context: 1 });
      assert.equal(attempt.stopReason, "cancelled");
      attempt.signal.throwIfAborted();
    }, (fake) => fake.until("fail the task was cancelled"));
    const ends = fake.calls.filter((call) => /^(saved|fail)/.test(call));
    assert.deepEqual(ends, ["saved", "fail the task was cancelled"]);
  });

  test("forgets every session gives up: another worker has its id", async () => {
    const fake = new Fake();
    const address = await fake.serve(() => ({
      heartbeat: () => { throw refusal(Code.FailedPrecondition, "UNKNOWN_SESSION"); },
    }));
    const worker = new Worker({ address, handlers: { work: () => 1 }, logger: QUIET });
    await worker.start();
    await assert.rejects(worker.ended, (error) =>
      error instanceof ConfigError && error.message.includes(worker.workerId));
    fake.close();
  });
});
