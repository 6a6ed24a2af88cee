import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Code, ConnectError } from "@connectrpc/connect";
import { ConfigError, LeaseLostError, Worker } from "../src/index.js";
import type { Handler } from "../src/index.js";
import { LeaseVerdict } from "../src/v1.js";
import { Fake, LEASE, play, QUIET, refusal } from "./fake.js";

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

  test("hears upon which version each save is made", async () => {
    const told: (bigint | undefined)[] = [];
    const answers = [
      () => { throw new ConnectError("lost", Code.Unavailable); },
      () => { throw new ConnectError("too large", Code.InvalidArgument); },
      () => { throw refusal(Code.Aborted, "CONTEXT_VERSION", { context_version: "9" }); },
    ];
    await play((fake) => ({
      saveContext: ({ expectedVersion }) => {
        told.push(expectedVersion);
        answers.shift()?.();
        fake.note("save");
        return { contextVersion: (expectedVersion ?? 0n) + 1n };
      },
    }), async (attempt) => {
      await assert.rejects(attempt.save({ context: 1 }), { code: "INVALID_ARGUMENT" });
      assert.equal(await attempt.save({ context: 2 }), 10n);
      assert.equal(await attempt.save({ context: 3 }), 11n);
    }, (fake) => fake.until("save", 2));
    assert.deepEqual(told, [0n, 0n, 0n, 9n, 10n]);
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

  test("forgets every session gives up: another worker has its id", async (t) => {
    const fake = new Fake();
    const address = await fake.serve(() => ({
      heartbeat: () => { throw refusal(Code.FailedPrecondition, "UNKNOWN_SESSION"); },
    }));
    const worker = new Worker({ address, handlers: { work: () => 1 }, logger: QUIET });
    t.after(() => { fake.close(); });
    await worker.start();
    await assert.rejects(worker.ended, (error) =>
      error instanceof ConfigError && error.message.includes(worker.workerId));
  });

  test("takes few pieces a call gets thousands of lines in one log", async () => {
    const lines = Array.from({ length: 10_001 }, (_, n) => `line ${n}`);
    let log = "";
    await play((fake) => ({
      pushTaskLogs: ({ chunks }) => {
        if (chunks.length > 4_096) throw new ConnectError("too many", Code.InvalidArgument);
        for (const { offset, data } of chunks) {
          assert.equal(offset, BigInt(log.length));
          log += Buffer.from(data).toString();
        }
        fake.note("logs");
        return {};
      },
    }), (attempt) => {
      for (const line of lines) void attempt.log(line);
    }, (fake) => fake.until("complete"));
    assert.equal(log, lines.map((line) => `${line}\n`).join(""));
  });

  test("refuses a log: it is said", async () => {
    const said: string[] = [];
    await play(() => ({
      pushTaskLogs: () => { throw new ConnectError("not this", Code.InvalidArgument); },
    }), (attempt) => attempt.log("a line"), (fake) => fake.until("complete"), {
      ...QUIET,
      error: (message) => { said.push(message); },
    });
    assert.match(said.join(), /the log from here on is lost: not this/);
  });

  test("refuses a result hears that the attempt failed", async () => {
    const fake = await play(() => ({
      completeTask: () => { throw new ConnectError("bad result", Code.InvalidArgument); },
    }), () => "done", (fake) => fake.until("fail the broker refused the result: bad result"));
    assert.equal(fake.count("complete"), 0);
  });

  test("is told nothing by what still runs when the worker has ended", async () => {
    let save: () => Promise<unknown> = () => Promise.resolve();
    const fake = await play((fake) => ({
      heartbeat: ({ leases }) => {
        if (leases.length > 0) fake.note("working");
        return { leases: leases.map((lease) => ({ lease, verdict: LeaseVerdict.OK })) };
      },
    }), (attempt) => {
      save = () => attempt.save({ stage: "late" });
      return new Promise(() => undefined);
    }, async (fake, worker) => {
      await fake.until("working");
      await worker.stop({ drainMs: 0 });
      await assert.rejects(save(), { code: "CANCELLED" });
    });
    assert.equal(fake.count("save"), 0);
  });
});
