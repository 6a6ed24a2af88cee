import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { create, toBinary } from "@bufbuild/protobuf";
import { anyPack, durationFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import {
  AsyncflowError,
  InvalidRequestError,
  LeaseLostError,
  UnavailableError,
} from "../src/index.js";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  RetryInfoSchema,
} from "../src/generated/google/rpc/error_details_pb.js";
import { StatusSchema } from "../src/generated/google/rpc/status_pb.js";
import { TaskErrorSchema } from "../src/v1.js";

/** An error as the transport gives it of what a broker answered. */
function answered(code: Code, text: string, details: unknown[] = []): ConnectError {
  return new ConnectError(text, code, { "grpc-status": String(code) }, details as never);
}

function nodeError(code: string, message = code): Error {
  return Object.assign(new Error(message), { code });
}

describe("errors", () => {
  test("tell reason, metadata and every violation", () => {
    const error = AsyncflowError.from(answered(Code.InvalidArgument, "not valid", [
      {
        desc: ErrorInfoSchema,
        value: { reason: "INVALID_FIELDS", domain: "asyncflow", metadata: { key: "value" } },
      },
      {
        desc: BadRequestSchema,
        value: {
          fieldViolations: [
            { field: "task.task_type", description: "must not be empty" },
            { field: "task.priority", description: "must be at most 1,000" },
          ],
        },
      },
    ]));
    // Outgoing details are read as those that came in are.
    assert.ok(error instanceof InvalidRequestError && error instanceof AsyncflowError);
    assert.equal(error.code, "INVALID_ARGUMENT");
    assert.equal(error.reason, "INVALID_FIELDS");
    assert.deepEqual(error.metadata, { key: "value" });
    const fields = error.violations.map(({ field }) => field);
    assert.deepEqual(fields, ["task.task_type", "task.priority"]);
    assert.equal(
      error.message,
      "not valid (INVALID_FIELDS)\n  task.task_type: must not be empty\n" +
        "  task.priority: must be at most 1,000",
    );
    assert.equal(error.retryable, false);
  });

  test("say how long to wait, and that waiting may help", () => {
    const busy = AsyncflowError.from(answered(Code.ResourceExhausted, "busy", [
      { desc: RetryInfoSchema, value: { retryDelay: durationFromMs(250) } },
    ]));
    assert.equal(busy.retryAfterMs, 250);
    assert.ok(busy.retryable && !busy.inTransit);
    const tooLarge = AsyncflowError.from(answered(Code.ResourceExhausted, "too large"));
    assert.ok(!tooLarge.retryable);
  });

  test("of a connection are UNAVAILABLE, however they come", () => {
    const causes = [
      new ConnectError("x", Code.Aborted, undefined, undefined, nodeError("ECONNRESET")),
      new ConnectError("x", Code.Unavailable, undefined, undefined, nodeError("ECONNREFUSED")),
      new ConnectError("http/2 stream closed with error code CANCEL (0x8)", Code.Canceled),
      new ConnectError("protocol error: missing status", Code.Internal),
      new ConnectError("x", Code.Internal, undefined, undefined, nodeError("ERR_HTTP2_SESSION")),
    ];
    for (const cause of causes) {
      const error = AsyncflowError.from(cause, "http://here:1");
      assert.ok(error instanceof UnavailableError, cause.message);
      assert.ok(error.retryable && error.inTransit);
      assert.match(error.message, /cannot reach the broker at http:\/\/here:1/);
    }
  });

  test("that a broker answered keep their code", () => {
    const lost = [{ desc: ErrorInfoSchema, value: { reason: "LEASE_LOST" } }];
    const error = AsyncflowError.from(answered(Code.Aborted, "gone", lost));
    assert.ok(error instanceof LeaseLostError && !error.retryable);
    assert.equal(error.code, "ABORTED");
    const late = AsyncflowError.from(answered(Code.Canceled, "Timeout expired"));
    assert.equal(late.code, "DEADLINE_EXCEEDED");
    const internal = AsyncflowError.from(new ConnectError("cannot encode", Code.Internal));
    assert.equal(internal.code, "INTERNAL");
  });

  test("of one task among many have the details of a call about it alone", () => {
    const info = create(ErrorInfoSchema, { reason: "UNKNOWN_TASK_TYPE" });
    const details = [anyPack(ErrorInfoSchema, info)];
    const status = toBinary(StatusSchema, create(StatusSchema, { code: 5, details }));
    const error = AsyncflowError.fromTaskError(
      create(TaskErrorSchema, { code: 5, message: "no such type", status }),
    );
    assert.equal(error.code, "NOT_FOUND");
    assert.equal(error.reason, "UNKNOWN_TASK_TYPE");
    const broken = new Uint8Array([1]);
    const rubbish = create(TaskErrorSchema, { code: 99, message: "?", status: broken });
    assert.equal(AsyncflowError.fromTaskError(rubbish).code, "UNKNOWN");
  });
});
