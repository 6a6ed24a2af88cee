// When a call is repeated. Pure: no waiting, no sending.

import type { AsyncflowError } from "./error.js";
import { Backoff } from "./pause.js";
import { neverConnected } from "./transit.js";

// A second one of these would do a second thing: they are repeated only when it is known that the
// broker did nothing.
const ONCE: ReadonlySet<string> = new Set([
  "RetryTask",
  "RetryWorkflow",
  "BackfillSchedule",
  "HandOverTask",
]);
const NOTHING_DONE: ReadonlySet<string> = new Set([
  "SHUTTING_DOWN",
  "DATABASE_UNAVAILABLE",
  "OVERLOADED",
  "CONTENTION",
  "STORAGE_FULL",
]);

/** The tries of one call within its deadline, of which `method` is the RPC's name. */
export class Tries {
  readonly #method: string;
  readonly #end: number;
  readonly #backoff = new Backoff();

  constructor(method: string, timeoutMs: number, now: number) {
    this.#method = method;
    this.#end = now + timeoutMs;
  }

  /** The deadline of the next try, from now on; at least 1 ms, so that it says that it is late. */
  leftMs(now: number): number {
    return Math.max(1, this.#end - now);
  }

  /** How long to wait before the next try; undefined when there shall be none. */
  waitAfter(error: AsyncflowError, now: number): number | undefined {
    if (!isWorthRepeating(this.#method, error)) return undefined;
    const wait = this.#backoff.after(error);
    return now + wait >= this.#end ? undefined : wait;
  }
}

/** Whether the call may be sent again, and that may help. */
export function isWorthRepeating(method: string, error: AsyncflowError): boolean {
  if (!error.retryable || isUntrusted(error)) return false;
  return !ONCE.has(method) || isUndone(error);
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
