// When a call is repeated. Pure: no waiting, no sending.

import type { DescMethod } from "@bufbuild/protobuf";
import type { AsyncflowError } from "./error.js";
import { Backoff } from "./pause.js";
import { isIdentified } from "./request-id.js";
import { neverConnected } from "./transit.js";

// Calls with these names change nothing, or do the same when they are repeated. What carries a
// request id does, too; all others are repeated only when it is known that the broker did nothing.
const HARMLESS = /^(Get|List|Count|Explain|Wait|Cancel|Pause|Resume|Signal|Delete)/;
const NOTHING_DONE: ReadonlySet<string> = new Set([
  "SHUTTING_DOWN",
  "DATABASE_UNAVAILABLE",
  "OVERLOADED",
  "CONTENTION",
  "STORAGE_FULL",
]);

const TIMEOUT_MS_MAX = 99_999_999;

/** The tries of one call within its deadline. */
export class Tries {
  readonly #method: DescMethod;
  readonly #end: number;
  readonly #backoff = new Backoff();
  #mayBeDone = false;

  constructor(method: DescMethod, timeoutMs: number, now: number) {
    this.#method = method;
    this.#end = now + timeoutMs;
  }

  /** The deadline of the next try, from now on; at least 1 ms, so that it says that it is late. */
  leftMs(now: number): number {
    return sendableMs(this.#end - now);
  }

  /** How long to wait before the next try; undefined when there shall be none. */
  waitAfter(error: AsyncflowError, now: number): number | undefined {
    if (!isWorthRepeating(this.#method, error)) return undefined;
    this.#mayBeDone ||= !isUndone(error);
    const wait = this.#backoff.after(error);
    return now + wait >= this.#end ? undefined : wait;
  }

  /** Whether the error only says that a try before, whose answer was lost, has done it. */
  isDoneBefore(error: AsyncflowError): boolean {
    return this.#mayBeDone && error.code === "NOT_FOUND" && this.#method.name.startsWith("Delete");
  }
}

/** The deadline as gRPC can say it: whole milliseconds of at most eight digits, a good day. */
export function sendableMs(ms: number): number {
  return Math.min(Math.max(1, Math.ceil(ms)), TIMEOUT_MS_MAX);
}

/** Whether the call may be sent again, and that may help. */
export function isWorthRepeating(method: DescMethod, error: AsyncflowError): boolean {
  if (!mayPass(error)) return false;
  return HARMLESS.test(method.name) || isIdentified(method.input) || isUndone(error);
}

/** Whether another try may end better; whether it does harm is another question. */
export function mayPass(error: AsyncflowError): boolean {
  return error.retryable && !isUntrusted(error);
}

/** Whether it is known that the broker did nothing of what it was asked for. */
function isUndone(error: AsyncflowError): boolean {
  return error.inTransit ? neverConnected(error) : NOTHING_DONE.has(error.reason);
}

/** A certificate that does not fit will not fit the next time. */
function isUntrusted(error: AsyncflowError): boolean {
  const [said = ""] = error.text.split("\n");
  return error.inTransit && /certificate|self.signed|altname/i.test(said);
}
