// How an attempt ended, and the errors by which a handler says so. Pure.

import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { isContent, json } from "../content.js";
import { FailureReason } from "../generated/asyncflow/v1/task_pb.js";
import type { Content, Task } from "../generated/asyncflow/v1/task_pb.js";
import {
  CompleteTaskRequestSchema,
  FailTaskRequestSchema,
  ReleaseTaskRequestSchema,
} from "../generated/asyncflow/v1/worker_service_pb.js";
import type {
  CompleteTaskRequest,
  FailTaskRequest,
  ReleaseTaskRequest,
} from "../generated/asyncflow/v1/worker_service_pb.js";
import { STOP_TEXT } from "./stop.js";
import type { StopReason } from "./stop.js";

/** Largest result that a broker takes. */
export const RESULT_BYTES_MAX = 64 * 1024;
const MESSAGE_BYTES_MAX = 1_024;
const CONTENT_TYPE_BYTES_MAX = 128;
const RETRY_AFTER_MS_MAX = 365 * 24 * 3_600_000;

/** Thrown by a handler: the attempt failed, and may be tried again by the task's retry policy. */
export class Retry extends Error {
  override readonly name = "Retry";
  /** Not before so long. */
  readonly afterMs: number;

  constructor(message: string, options: ErrorOptions & { afterMs?: number } = {}) {
    super(message, options);
    this.afterMs = options.afterMs ?? 0;
  }
}

/** Thrown by a handler: trying again cannot help. */
export class Fail extends Error {
  override readonly name = "Fail";
}

/** Payload or context cannot be parsed. */
export class BadContext extends Fail {}

/** How an attempt ended; session and lease are filled in where it is told. */
export type Outcome =
  | { kind: "complete"; request: CompleteTaskRequest }
  | { kind: "fail"; request: FailTaskRequest }
  | { kind: "release"; request: ReleaseTaskRequest }
  | { kind: "abandoned" };

/** What a handler returned; one that is too large, or cannot be told, fails for good. */
export function returned(value: unknown): Outcome {
  let result: Content | undefined;
  try {
    result = value === undefined || isContent(value) ? value : json(value);
  } catch (error) {
    const message = `the result cannot be told in JSON: ${textOf(error)}`;
    return failed(FailureReason.PERMANENT, message, { permanent: true });
  }
  const size = result?.data.length ?? 0;
  if (size > RESULT_BYTES_MAX) {
    const message = `the result has ${size} bytes, at most ${RESULT_BYTES_MAX}`;
    return failed(FailureReason.RESULT_TOO_LARGE, message, { permanent: true });
  }
  if (result && !isContentType(result.contentType)) {
    // A broker refuses such a line, and with it the outcome.
    result = { ...result, contentType: "" };
  }
  const request = create(CompleteTaskRequestSchema, result ? { result } : {});
  return { kind: "complete", request };
}

/** What a handler threw; after it was told to stop that is the stop's consequence. */
export function thrown(error: unknown, told: StopReason | undefined): Outcome {
  if (told !== undefined) return stopped(told);
  if (error instanceof Fail) {
    const isBad = error instanceof BadContext;
    const reason = isBad ? FailureReason.BAD_CONTEXT : FailureReason.PERMANENT;
    return failed(reason, textOf(error), { permanent: true });
  }
  const afterMs = error instanceof Retry ? error.afterMs : 0;
  return failed(FailureReason.ERROR, textOf(error), { afterMs });
}

/** What becomes of an attempt that ended because it was told to stop. */
export function stopped(reason: StopReason): Outcome {
  const message = STOP_TEXT[reason];
  switch (reason) {
    case "cancelled":
      return failed(FailureReason.CANCELLED, message);
    case "timed_out":
      return failed(FailureReason.TIMED_OUT, message);
    case "lease_lost":
      return { kind: "abandoned" };
    case "drained":
    case "aborted": {
      const failure = { reason: FailureReason.DRAINED, message };
      return { kind: "release", request: create(ReleaseTaskRequestSchema, { failure }) };
    }
  }
}

/** When the broker does not take the result. */
export function resultRefused(why: string): Outcome {
  return failed(FailureReason.ERROR, `the broker refused the result: ${why}`);
}

/** For a task that this worker cannot run: another one may. */
export function noHandler(task: Task): Outcome {
  const what = task.command ? "commands" : task.taskType;
  return failed(FailureReason.NO_HANDLER, `this worker has no handler for ${what}`);
}

function failed(
  reason: FailureReason,
  message: string,
  how: { permanent?: boolean; afterMs?: number } = {},
): Outcome {
  // Not a number, or endless, is no time to wait.
  const given = how.afterMs ?? 0;
  const afterMs = Math.min(Number.isNaN(given) ? 0 : Math.max(0, given), RETRY_AFTER_MS_MAX);
  return {
    kind: "fail",
    request: create(FailTaskRequestSchema, {
      failure: { reason, message: cut(message) },
      permanent: how.permanent ?? false,
      ...(afterMs > 0 ? { retryAfter: durationFromMs(Math.ceil(afterMs)) } : {}),
    }),
  };
}

/** What an error says, on one line if it is ours to shape. */
export function textOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error instanceof Retry || error instanceof Fail) return error.message || error.name;
  return error.message ? `${error.name}: ${error.message}` : error.name;
}

/** The beginning of it, in at most so many bytes of UTF-8, and without half a character. */
export function cut(text: string, bytesMax = MESSAGE_BYTES_MAX): string {
  const buffer = new Uint8Array(bytesMax);
  const { read } = new TextEncoder().encodeInto(text, buffer);
  return text.slice(0, read);
}

function isContentType(text: string): boolean {
  return text.length <= CONTENT_TYPE_BYTES_MAX && /^[\x20-\x7e]*$/.test(text);
}
