// A broker for the worker's side that loses answers and says what a test wants.

import assert from "node:assert/strict";
import { createServer } from "node:http2";
import type { Http2Server } from "node:http2";
import type { AddressInfo } from "node:net";
import { create } from "@bufbuild/protobuf";
import { ConnectError } from "@connectrpc/connect";
import type { Code, ServiceImpl } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { ErrorInfoSchema } from "../src/generated/google/rpc/error_details_pb.js";
import { Worker } from "../src/index.js";
import type { Handler, Logger } from "../src/index.js";
import { LeasedTaskSchema, LeaseVerdict, TaskState, WorkerService } from "../src/v1.js";
import type { LeasedTask } from "../src/v1.js";

const nothing = (): void => undefined;
export const QUIET: Logger = { info: nothing, warn: nothing, error: nothing };
export const LEASE = { taskId: "work-1-x", attempt: 1 };

export type Answers = Partial<ServiceImpl<typeof WorkerService>>;

/** What a broker would do with one task, and a note of each call. */
export class Fake {
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
      saveContext: ({ expectedVersion }) => {
        this.note("save");
        return { contextVersion: (expectedVersion ?? 0n) + 1n };
      },
      pushTaskLogs: ({ chunks }) => {
        this.note(`logs ${chunks.length}`);
        return {};
      },
      reportProgress: () => ({}),
      deregisterWorker: () => {
        this.note("deregister");
        return {};
      },
    };
  }
}

export function refusal(
  code: Code, reason: string, metadata: Record<string, string> = {},
): ConnectError {
  const value = { reason, metadata };
  return new ConnectError(reason, code, undefined, [{ desc: ErrorInfoSchema, value }]);
}

/** One worker with one handler lives its story; it is stopped then. */
export async function play(
  answers: (fake: Fake) => Answers,
  handler: Handler,
  story: (fake: Fake, worker: Worker) => Promise<void>,
  logger = QUIET,
): Promise<Fake> {
  const fake = new Fake();
  const address = await fake.serve(answers);
  const handlers = { work: handler };
  const worker = new Worker({ address, handlers, logger, graceMs: 500 });
  await worker.start();
  try {
    await story(fake, worker);
  } finally {
    await worker.stop({ drainMs: 0 }).catch(() => undefined);
    fake.close();
  }
  return fake;
}
