import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { after, before, describe, test } from "node:test";
import type { TestContext } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import {
  AsyncflowError,
  AttemptOutcome,
  Client,
  ConfigError,
  DeadlineError,
  Fail,
  FailureReason,
  InvalidRequestError,
  isTerminal,
  json,
  NotFoundError,
  parseJson,
  TaskFailedError,
  TaskState,
  TaskView,
  UnavailableError,
  Worker,
} from "../src/index.js";
import type { CreateRequest, Handler, Logger } from "../src/index.js";
import { Broker, freePort } from "./broker.js";

const QUIET: Logger = { info: () => undefined, warn: () => undefined, error: () => undefined };

let broker: Broker;
let client: Client;
let made = 0;

before(async () => {
  broker = await Broker.started();
  client = new Client({ address: broker.address });
});

after(async () => {
  client.close();
  await broker.stop();
});

async function newType(retries = 0): Promise<string> {
  made += 1;
  const name = `t${made}`;
  const retry = { maxRetries: retries, interval: { seconds: 0n, nanos: 1_000_000 } };
  await client.createTaskType({ name, retry });
  return name;
}

/** A worker of a test's, which ends it, however it goes. */
async function started(
  t: TestContext,
  handlers: Record<string, Handler>,
  options: { slots?: number; graceMs?: number } = {},
): Promise<Worker> {
  const worker = new Worker({ address: broker.address, handlers, logger: QUIET, ...options });
  t.after(() => worker.abort());
  await worker.start();
  return worker;
}

async function withWorker(
  t: TestContext,
  handlers: Record<string, Handler>,
  run: () => Promise<void>,
  options: { slots?: number; graceMs?: number } = {},
): Promise<void> {
  const worker = await started(t, handlers, options);
  await run();
  await worker.stop({ drainMs: 0 });
}

/** Resolves when its function is called. */
function moment(): [Promise<void>, () => void] {
  let happens = (): void => undefined;
  const happened = new Promise<void>((resolve) => { happens = resolve; });
  return [happened, happens];
}

/**
 * Ends with the attempt when it should stop, else when it is told to. Its task is RUNNING as soon
 * as a broker has handed it out; the worker has it when it has `begun`.
 */
function untilTold(): { handler: Handler; begun: Promise<void>; end: () => void } {
  const [begun, begins] = moment();
  const [told, end] = moment();
  const handler: Handler = async ({ signal }) => {
    begins();
    await Promise.race([told, new Promise<void>((resolve) => {
      signal.addEventListener("abort", () => { resolve(); });
    })]);
    signal.throwIfAborted();
    return "done";
  };
  return { handler, begun, end };
}

async function untilState(taskId: string, state: TaskState): Promise<void> {
  for await (const { task } of client.watch({ taskIds: [taskId] })) {
    if (task?.state === state) return;
    // Else it would be waited for for ever.
    assert.ok(!task || !isTerminal(task.state), `it ended as ${TaskState[task?.state ?? 0]}`);
  }
}

/** Reads it to its end. */
async function ended(stream: AsyncGenerator): Promise<void> {
  while (!(await stream.next()).done);
}

describe("a client", () => {
  test("pauses, resumes, cancels, retries and deletes", async () => {
    const { id } = await client.create({ taskType: await newType() });
    assert.equal((await client.pause(id)).state, TaskState.PAUSED);
    assert.equal((await client.resume(id)).state, TaskState.PENDING);
    assert.equal((await client.cancel(id, { reason: "no need" })).state, TaskState.CANCELLED);
    assert.equal((await client.retry(id, { fromStart: true })).run, 1);
    await client.cancel(id);
    await client.delete(id);
    await assert.rejects(client.get(id), NotFoundError);
  });

  test("lists page by page, with the view that is asked for", async () => {
    const taskType = await newType();
    const payload = json(1);
    const specs = Array.from({ length: 7 }, () => ({ taskType, payload }));
    const tasks = await client.createBatch(specs);
    const found = [];
    const options = { pageSize: 3, view: TaskView.FULL };
    for await (const task of client.list(`task_type = ${taskType}`, options)) found.push(task);
    assert.deepEqual(found.map(({ id }) => id).sort(), tasks.map(({ id }) => id).sort());
    assert.equal(parseJson(found[0]?.payload), 1);
    assert.equal(await client.count({ taskType, states: [TaskState.PENDING] }), 7);
    const basic = await client.get(found[0]?.id ?? "", { view: TaskView.BASIC });
    assert.equal(basic.payload, undefined);
  });

  test("creates once with one request id, and only checks when told so", async () => {
    const taskType = await newType();
    const first = await client.create({ taskType }, { requestId: `once-${taskType}` });
    const second = await client.create({ taskType }, { requestId: `once-${taskType}` });
    assert.equal(first.id, second.id);
    assert.equal((await client.create({ taskType }, { validateOnly: true })).id, "");
    assert.equal(await client.count({ taskType }), 1);
    await assert.rejects(client.create({ taskType: "Bad", priority: 5_000 }), (error) => {
      assert.ok(error instanceof InvalidRequestError);
      const fields = error.violations.map(({ field }) => field).sort();
      assert.deepEqual(fields, ["task.priority", "task.task_type"]);
      return true;
    });
  });

  test("reads and changes task types", async () => {
    const name = await newType();
    const updateMask = { paths: ["description"] };
    await client.updateTaskType({ taskType: { name, description: "changed" }, updateMask });
    assert.equal((await client.getTaskType(name)).description, "changed");
    const names = [];
    for await (const type of client.listTaskTypes()) names.push(type.name);
    assert.ok(names.includes(name));
  });

  test("creates by a stream, and what the caller's iterable throws is the caller's", async () => {
    const taskType = await newType();
    const requests = Array.from({ length: 1_200 }, () => ({ task: { taskType } }));
    const ids = new Set<string>();
    for await (const { taskId } of client.createStream(requests)) ids.add(taskId);
    assert.equal(ids.size, 1_200);
    const own = new Error("mine");
    function* broken(): Generator<CreateRequest> {
      yield { task: { taskType } };
      throw own;
    }
    await assert.rejects(async () => {
      for await (const created of client.createStream(broken())) ids.add(created.taskId);
    }, own);
  });

  test("gives up at its deadline, or when its signal says so", async () => {
    const { id } = await client.create({ taskType: await newType() });
    await assert.rejects(client.wait(id, { timeoutMs: 200 }), DeadlineError);
    assert.equal((await client.wait(id, { forMs: 50 })).state, TaskState.PENDING);
    const signal = AbortSignal.timeout(200);
    await assert.rejects(client.wait(id, { signal }), (error) => {
      assert.ok(error instanceof AsyncflowError && error.code === "CANCELLED");
      return error.cause === signal.reason;
    });
    const stop = AbortSignal.timeout(200);
    const watching = ended(client.watch({ taskIds: [id] }, { signal: stop }));
    await assert.rejects(watching, { code: "CANCELLED" });
    const away = new Client({ address: `http://127.0.0.1:${await freePort()}`, timeoutMs: 500 });
    const begin = performance.now();
    await assert.rejects(away.get(id), UnavailableError);
    await assert.rejects(ended(away.watch({ taskIds: [id] })), UnavailableError);
    assert.ok(performance.now() - begin < 3_000);
  });

  test("with an idle connection does not keep the process alive", async () => {
    const module = new URL("../src/index.js", import.meta.url).href;
    const program = `import { Client } from ${JSON.stringify(module)};
      await new Client().count(); await new Client().count();`;
    const child = spawn(process.execPath, ["--input-type=module", "-e", program], {
      env: { ...process.env, ASYNCFLOW_BROKER: broker.address },
      stdio: "inherit",
    });
    const exit = new Promise((resolve) => child.once("exit", resolve));
    const code = await Promise.race([exit, pause(20_000, "still alive", { ref: false })]);
    child.kill("SIGKILL");
    assert.equal(code, 0);
  });
});

describe("a worker", () => {
  test("runs tasks and tells result, stage, progress and log", async (t) => {
    const taskType = await newType();
    const handler: Handler = async (attempt) => {
      await attempt.log("a line");
      await attempt.save({ stage: "half", context: { n: 1 } });
      attempt.report({ percent: 50, message: "half", metrics: { loss: 0.5 } });
      return { twice: 2 * (attempt.payload<number>() ?? 0), stage: attempt.stage };
    };
    await withWorker(t, { [taskType]: handler }, async () => {
      const { id } = await client.create({ taskType, payload: json(21) });
      assert.deepEqual(await client.result(id), { twice: 42, stage: "half" });
      const task = await client.get(id);
      assert.equal(task.progress?.percent, 50);
      assert.equal(task.progress.metrics.loss, 0.5);
      assert.equal(task.stage, "half");
      let text = "";
      for await (const { data } of client.logs(id)) text += Buffer.from(data).toString();
      assert.equal(text, "a line\n");
    });
  });

  test("renews its leases while a handler takes longer than one", async (t) => {
    const taskType = await newType();
    const slow: Handler = async (attempt) => {
      await pause(4_500, undefined, { signal: attempt.signal });
      return "done";
    };
    await withWorker(t, { [taskType]: slow }, async () => {
      const { id } = await client.create({ taskType });
      assert.equal(await client.result(id), "done");
      assert.equal((await client.get(id)).attempt, 1);
    });
  });

  test("ends what runs for too long, and what does not listen, after its grace", async (t) => {
    const taskType = await newType();
    const deaf: Handler = () => new Promise(() => undefined);
    await withWorker(t, { [taskType]: deaf }, async () => {
      const maxRunningTime = { seconds: 0n, nanos: 200_000_000 };
      const { id } = await client.create({ taskType, maxRunningTime });
      const task = await client.wait(id);
      assert.equal(task.state, TaskState.FAILED);
      assert.equal(task.failure?.reason, FailureReason.TIMED_OUT);
    }, { graceMs: 100 });
  });

  test("keeps a save that is under way when the cancel comes", async (t) => {
    const taskType = await newType();
    const saving: Handler = async (attempt) => {
      for (let n = 1; ; n += 1) {
        await attempt.save({ context: { n } });
        attempt.signal.throwIfAborted();
      }
    };
    await withWorker(t, { [taskType]: saving }, async () => {
      const { id } = await client.create({ taskType });
      await untilState(id, TaskState.RUNNING);
      await pause(100);
      await client.cancel(id);
      const task = await client.wait(id);
      assert.equal(task.state, TaskState.CANCELLED);
      const saved = parseJson<{ n: number }>(task.context)?.n ?? 0;
      assert.equal(BigInt(saved), task.contextVersion);
    });
  });

  test("saves in the order in which it is asked to", async (t) => {
    const taskType = await newType();
    const hasty: Handler = async (attempt) => {
      const saves = Array.from({ length: 10 }, (_, n) => attempt.save({ context: { n } }));
      await Promise.all(saves);
    };
    await withWorker(t, { [taskType]: hasty }, async () => {
      const { id } = await client.create({ taskType });
      const task = await client.wait(id);
      assert.deepEqual([parseJson(task.context), task.contextVersion], [{ n: 9 }, 10n]);
    });
  });

  test("tells the handler of too large a context, and fails what returns too much", async (t) => {
    const [large, much] = [await newType(), await newType(3)];
    const handlers: Record<string, Handler> = {
      [large]: async (attempt) => {
        const saving = attempt.save({ context: "x".repeat(10_000) });
        await assert.rejects(saving, InvalidRequestError);
        throw new Fail("as it should");
      },
      [much]: () => "x".repeat(70_000),
    };
    await withWorker(t, handlers, async () => {
      const first = await client.create({ taskType: large });
      await assert.rejects(client.result(first.id), (error) =>
        error instanceof TaskFailedError && error.task.failure?.message === "as it should");
      const second = await client.wait((await client.create({ taskType: much })).id);
      assert.equal(second.failure?.reason, FailureReason.RESULT_TOO_LARGE);
      assert.equal(second.attempt, 1);
    });
  });

  test("gives back what runs when it stops, and lets it end when there is time", async (t) => {
    const taskType = await newType();
    const [one, other] = [untilTold(), untilTold()];
    const first = await started(t, { [taskType]: one.handler });
    const { id } = await client.create({ taskType });
    await one.begun;
    await first.stop({ drainMs: 0 });
    const back = await client.get(id);
    assert.deepEqual([back.state, back.failures], [TaskState.PENDING, 0]);
    const second = await started(t, { [taskType]: other.handler });
    await other.begun;
    const stopping = second.stop({ drainMs: 60_000 });
    other.end();
    await stopping;
    assert.equal(await client.result(id), "done");
    const outcomes = (await client.attempts(id)).map(({ outcome }) => outcome);
    assert.deepEqual(outcomes, [AttemptOutcome.RELEASED, AttemptOutcome.SUCCEEDED]);
  });

  test("goes on with its tasks when the broker was killed and comes back", async (t) => {
    const taskType = await newType();
    const { handler, begun, end } = untilTold();
    await withWorker(t, { [taskType]: handler }, async () => {
      const { id } = await client.create({ taskType });
      await begun;
      await broker.kill();
      await broker.start();
      end();
      assert.equal(await client.result(id), "done");
      assert.equal((await client.get(id)).attempt, 1);
    });
  });

  test("aborts without waiting for handlers", async (t) => {
    const taskType = await newType();
    const [begun, begins] = moment();
    const deaf: Handler = () => {
      begins();
      return new Promise(() => undefined);
    };
    const worker = await started(t, { [taskType]: deaf });
    const { id } = await client.create({ taskType });
    await begun;
    const begin = performance.now();
    await worker.abort();
    assert.ok(performance.now() - begin < 5_000);
    assert.equal((await client.get(id)).state, TaskState.PENDING);
  });

  test("is refused with what is wrong with it", async (t) => {
    assert.throws(() => new Worker({ handlers: {} }), ConfigError);
    assert.throws(() => new Worker({ handlers: { a: () => 1 }, slots: 0 }), ConfigError);
    const handlers = { a: (): number => 1 };
    const bad = new Worker({ address: broker.address, handlers, workerId: "no good" });
    t.after(() => bad.abort().catch(() => undefined));
    await assert.rejects(bad.start(), InvalidRequestError);
    await assert.rejects(bad.ended, InvalidRequestError);
  });

  test("runs until its signal, and ends though no broker is there", async (t) => {
    const address = `http://127.0.0.1:${await freePort()}`;
    const worker = new Worker({ address, handlers: { a: () => 1 }, logger: QUIET });
    t.after(() => worker.abort());
    await worker.run({ signal: AbortSignal.timeout(300) });
  });
});
