import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { AsyncflowError } from "../src/index.js";
import { Backoff } from "../src/pause.js";
import { identified } from "../src/request-id.js";
import { isWorthRepeating, sendableMs, Tries } from "../src/retry.js";
import {
  BatchCreateTasksRequestSchema,
  BrokerService,
  CreateTaskRequestSchema,
  GetTaskRequestSchema,
  HostService,
  ScheduleService,
} from "../src/v1.js";
import type { BatchCreateTasksRequest, CreateTaskRequest } from "../src/v1.js";

const rpc = { ...BrokerService.method, ...ScheduleService.method, ...HostService.method };
const away = new AsyncflowError({ code: "UNAVAILABLE", text: "away", inTransit: true });
const refused = new AsyncflowError({
  code: "UNAVAILABLE",
  text: "no",
  inTransit: true,
  cause: Object.assign(new Error("x"), { code: "ECONNREFUSED" }),
});
const busy = new AsyncflowError({ code: "ABORTED", text: "busy", retryAfterMs: 700 });
const bad = new AsyncflowError({ code: "INVALID_ARGUMENT", text: "bad" });
const draining = new AsyncflowError({
  code: "UNAVAILABLE",
  text: "ends",
  reason: "SHUTTING_DOWN",
  retryAfterMs: 1,
});
const unsure = new AsyncflowError({
  code: "UNAVAILABLE",
  text: "?",
  reason: "COMMIT_UNCONFIRMED",
  retryAfterMs: 1,
});

describe("a call", () => {
  test("is repeated only where that may help", () => {
    assert.ok(isWorthRepeating(rpc.createTask, away));
    assert.ok(isWorthRepeating(rpc.createTask, busy));
    assert.ok(!isWorthRepeating(rpc.createTask, bad));
    const untrusted = { code: "UNAVAILABLE", text: "self-signed certificate", inTransit: true };
    assert.ok(!isWorthRepeating(rpc.getTask, new AsyncflowError(untrusted as never)));
  });

  test("that would do a second thing is repeated only when nothing was done", () => {
    const { createTask, retryTask } = rpc;
    assert.ok(!isWorthRepeating(retryTask, away));
    assert.ok(!isWorthRepeating(retryTask, unsure));
    assert.ok(isWorthRepeating(createTask, unsure));
    assert.ok(isWorthRepeating(retryTask, refused));
    assert.ok(isWorthRepeating(retryTask, draining));
    const { createTaskType, updateTaskType, updateTask, evictGpu, handOverTask } = rpc;
    for (const method of [createTaskType, updateTaskType, updateTask, evictGpu, handOverTask]) {
      assert.ok(!isWorthRepeating(method, away), method.name);
      assert.ok(isWorthRepeating(method, refused), method.name);
    }
    const { batchCreateTasks, createWorkflow, runSchedule, pauseTask, deleteTask } = rpc;
    for (const method of [batchCreateTasks, createWorkflow, runSchedule, pauseTask, deleteTask]) {
      assert.ok(isWorthRepeating(method, away), method.name);
    }
  });

  test("that deletes what is gone was done by the try whose answer was lost", () => {
    const gone = new AsyncflowError({ code: "NOT_FOUND", text: "gone" });
    for (const [lost, isDone] of [[away, true], [draining, false], [refused, false]] as const) {
      const tries = new Tries(rpc.deleteTask, 1_000, 0);
      assert.ok(!tries.isDoneBefore(gone), "it was not there");
      tries.waitAfter(lost, 0);
      assert.equal(tries.isDoneBefore(gone), isDone);
    }
    const tries = new Tries(rpc.cancelTask, 1_000, 0);
    tries.waitAfter(away, 0);
    assert.ok(!tries.isDoneBefore(gone));
  });

  test("has a deadline that gRPC can say", () => {
    assert.equal(new Tries(rpc.getTask, 1_000, 0.3).leftMs(0.6), 1_000);
    assert.deepEqual([0.2, -5, 29_999.7, 1e9, Infinity].map(sendableMs),
      [1, 1, 30_000, 99_999_999, 99_999_999]);
  });

  test("is repeated within its deadline, and not before the broker says", () => {
    const tries = new Tries(rpc.getTask, 1_000, 0);
    const first = tries.waitAfter(away, 0) ?? NaN;
    assert.ok(first >= 50 && first <= 100, String(first));
    assert.ok((tries.waitAfter(busy, 50) ?? 0) >= 700);
    assert.equal(tries.waitAfter(busy, 400), undefined, "it would come too late");
    assert.equal(tries.leftMs(400), 600);
    assert.equal(tries.leftMs(2_000), 1);
  });

  test("comes back spread, though all are asked to wait alike", () => {
    const waits = Array.from({ length: 20 }, () => new Backoff().after(busy));
    assert.ok(Math.min(...waits) > 700 && Math.max(...waits) <= 800, waits.join());
    assert.ok(new Set(waits).size > 1, waits.join());
  });

  test("waits longer and longer, to five seconds, and anew after a success", () => {
    const backoff = new Backoff();
    const waits = Array.from({ length: 12 }, () => backoff.after(away));
    assert.ok((waits.at(-1) ?? 0) >= 2_500 && Math.max(...waits) <= 5_000, waits.join());
    backoff.reset();
    assert.ok(backoff.after(away) <= 100);
  });
});

describe("request ids", () => {
  test("are put where there is a place for one, and never into the caller's message", () => {
    const given = create(CreateTaskRequestSchema, { task: { taskType: "work" } });
    const sent = identified(CreateTaskRequestSchema, given) as CreateTaskRequest;
    assert.equal(sent.requestId.length, 36);
    assert.equal(given.requestId, "");
    const own = identified(CreateTaskRequestSchema, { requestId: "mine" }) as CreateTaskRequest;
    assert.equal(own.requestId, "mine");
    identified(GetTaskRequestSchema, { taskId: "x" });
  });

  test("are put into each request of a batch that lacks one", () => {
    const given = { requests: [{ requestId: "mine" }, {}, {}] };
    const sent = identified(BatchCreateTasksRequestSchema, given) as BatchCreateTasksRequest;
    const ids = sent.requests.map(({ requestId }) => requestId);
    assert.equal(ids[0], "mine");
    assert.equal(new Set(ids).size, 3);
    assert.ok(ids.every((id) => id !== ""));
  });
});
