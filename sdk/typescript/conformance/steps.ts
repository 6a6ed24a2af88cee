// What the steps of scenarios do, see sdk/conformance/README.md.

import { TaskState, Worker } from "../src/index.js";
import type { AsyncflowError, CallOptions, Client } from "../src/index.js";
import { AttemptSchema } from "../src/v1.js";
import { HANDLERS } from "./handlers.js";
import { isObject, spelled, StepError } from "./judge.js";
import type { Json, JsonObject } from "./judge.js";
import { specOf, told, toldAs } from "./messages.js";
import { Watching } from "./watching.js";

const WORKER_STOP_S = 15;

/** What the steps of one scenario have in common. */
export interface Stage {
  client: Client;
  workers: Map<string, Worker>;
  watches: Map<string, Watching>;
}

/** One kind of step: the fields that it knows, of which those with `?` may be missing. */
interface Kind {
  fields: readonly string[];
  run: (step: Fields, stage: Stage, call: CallOptions) => Promise<Json>;
}

/** The fields of a step, by the type that they must have. */
export class Fields {
  constructor(private readonly all: JsonObject) {}

  text(name: string): string {
    const value = this.all[name];
    if (typeof value !== "string") throw new StepError(`${name} must be a text`);
    return value;
  }

  number(name: string, otherwise?: number): number {
    const value = this.all[name] ?? otherwise;
    if (typeof value !== "number") throw new StepError(`${name} must be a number`);
    return value;
  }

  list(name: string): Json[] {
    const value = this.all[name] ?? [];
    if (!Array.isArray(value)) throw new StepError(`${name} must be a list`);
    return value;
  }

  object(name: string): JsonObject {
    const value = this.all[name] ?? {};
    if (!isObject(value)) throw new StepError(`${name} must be an object`);
    return value;
  }

  has(name: string): boolean {
    return this.all[name] !== undefined;
  }

  /** All but those that every step may have. */
  rest(): JsonObject {
    const own = Object.entries(this.all).filter(([name]) => !COMMON.includes(name));
    return Object.fromEntries(own);
  }
}

/** Fields that every step may have. */
const COMMON = ["do", "save", "expect", "expect_error", "deadline_ms", "at_most_ms", "at_least_ms"];

const KINDS: Readonly<Record<string, Kind>> = {
  create: {
    fields: ["task", "request_id"],
    run: async (step, { client }, call) => {
      const id = step.has("request_id") ? { requestId: step.text("request_id") } : {};
      return told(await client.create(specOf(step.object("task")), { ...id, ...call }));
    },
  },
  batch_create: {
    fields: ["tasks"],
    run: async (step, { client }, call) => {
      const tasks = await client.createBatch(step.list("tasks").map(specOf), call);
      return { tasks: tasks.map(told) };
    },
  },
  stream_create: { fields: ["tasks"], run: streamCreate },
  get: {
    fields: ["task"],
    run: async (step, { client }, call) => told(await client.get(step.text("task"), call)),
  },
  list: {
    fields: ["filter", "page_size"],
    run: async (step, { client }, call) => {
      const tasks: Json[] = [];
      const pageSize = step.number("page_size", 0);
      const found = client.list(step.text("filter"), { pageSize, ...call });
      for await (const task of found) tasks.push(told(task));
      return { tasks };
    },
  },
  count: {
    fields: ["task_type", "states"],
    run: async (step, { client }, call) => {
      const states = step.list("states").map((name) => stateNamed(spelled(name)));
      return { total: await client.count({ taskType: step.text("task_type"), states }, call) };
    },
  },
  cancel: {
    fields: ["task"],
    run: async (step, { client }, call) => told(await client.cancel(step.text("task"), call)),
  },
  retry: {
    fields: ["task"],
    run: async (step, { client }, call) => told(await client.retry(step.text("task"), call)),
  },
  wait: {
    fields: ["task", "timeout_s"],
    run: async (step, { client }, call) => {
      const forMs = step.number("timeout_s") * 1_000;
      return told(await client.wait(step.text("task"), { forMs, ...call }));
    },
  },
  watch_begin: { fields: ["watch", "task", "filter"], run: watchBegin },
  watch_until: {
    fields: ["watch", "state", "timeout_s"],
    run: async (step, { watches }) => {
      const watching = watches.get(step.text("watch"));
      if (!watching) throw new StepError("there is no such watch");
      await watching.until(step.text("state"), step.number("timeout_s") * 1_000);
      return { states: [...watching.states] };
    },
  },
  attempts: {
    fields: ["task"],
    run: async (step, { client }, call) => {
      const attempts = await client.attempts(step.text("task"), call);
      return { attempts: attempts.map((attempt) => toldAs(AttemptSchema, attempt)) };
    },
  },
  logs: {
    fields: ["task"],
    run: async (step, { client }, call) => {
      const chunks: Uint8Array[] = [];
      for await (const { data } of client.logs(step.text("task"), call)) chunks.push(data);
      return { text: Buffer.concat(chunks).toString() };
    },
  },
  worker_start: { fields: ["worker", "handlers", "slots"], run: workerStart },
  worker_stop: { fields: ["worker", "drain_s", "timeout_s"], run: workerStop },
  control: { fields: ["command", "seconds", "task"], run: control },
};

/** Does a step and gives its answer. */
export async function play(step: JsonObject, stage: Stage): Promise<Json> {
  const name = spelled(step.do);
  const kind = KINDS[name];
  if (!kind) throw new StepError(`nobody knows how to do ${name}`);
  const unknown = Object.keys(step).filter((key) => ![...COMMON, ...kind.fields].includes(key));
  if (unknown.length > 0) throw new StepError(`${name} has no ${unknown.join(", ")}`);
  const fields = new Fields(step);
  const call = fields.has("deadline_ms") ? { timeoutMs: fields.number("deadline_ms") } : {};
  return kind.run(fields, stage, call);
}

async function streamCreate(step: Fields, { client }: Stage): Promise<Json> {
  const requests = step.list("tasks").map((task) => ({ task: specOf(task) }));
  const results: Json[] = [];
  for await (const { taskId, error } of client.createStream(requests)) {
    results.push(error ? { error: toldError(error) } : { task_id: taskId });
  }
  return { results };
}

function toldError({ code, reason }: AsyncflowError): Json {
  return { code, reason };
}

async function watchBegin(step: Fields, { client, watches }: Stage): Promise<Json> {
  const what = step.has("task")
    ? { taskIds: [step.text("task")] }
    : { filter: step.text("filter") };
  const name = step.text("watch");
  await watches.get(name)?.stop();
  watches.set(name, new Watching(client, what));
  return {};
}

async function workerStart(step: Fields, { workers }: Stage): Promise<Json> {
  const chosen = Object.entries(step.object("handlers")).map(([type, name]) => {
    const handler = HANDLERS[spelled(name)];
    if (!handler) throw new StepError(`nobody knows the handler ${spelled(name)}`);
    return [type, handler] as const;
  });
  const handlers = Object.fromEntries(chosen);
  const worker = new Worker({ handlers, slots: step.number("slots", 1) });
  workers.set(step.text("worker"), worker);
  await worker.start();
  return {};
}

async function workerStop(step: Fields, { workers }: Stage): Promise<Json> {
  const name = step.text("worker");
  const worker = workers.get(name);
  if (!worker) throw new StepError("there is no such worker");
  const timeoutMs = step.number("timeout_s", WORKER_STOP_S) * 1_000;
  const ended = worker.stop({ drainMs: step.number("drain_s", 0) * 1_000 });
  if (!await isDoneWithin(ended, timeoutMs)) {
    throw new StepError(`the worker has not ended after ${timeoutMs} ms`);
  }
  workers.delete(name);
  return {};
}

/** Whether it has ended by then; its error is thrown. */
export async function isDoneWithin(work: Promise<unknown>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<false>((resolve) => {
    timer = setTimeout(() => { resolve(false); }, ms);
  });
  try {
    return await Promise.race([work.then(() => true), late]);
  } finally {
    clearTimeout(timer);
  }
}

async function control(step: Fields): Promise<Json> {
  const url = process.env.ASYNCFLOW_CONFORMANCE_CONTROL ?? "";
  const answer = await fetch(url, { method: "POST", body: JSON.stringify(step.rest()) });
  const said = await answer.text();
  if (answer.status !== 200) throw new StepError(`control answered ${answer.status}: ${said}`);
  return {};
}

function stateNamed(name: string): TaskState {
  const short = name.replace(/^TASK_STATE_/, "") as keyof typeof TaskState;
  return TaskState[short];
}

