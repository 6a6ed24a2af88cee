// Running a handler: its time limit, and the grace after it was told to stop.

import { durationMs } from "@bufbuild/protobuf/wkt";
import { aborted, sleep } from "../pause.js";
import type { Attempt } from "./attempt.js";
import type { Handler } from "./options.js";
import { returned, stopped, thrown } from "./outcome.js";
import type { Outcome } from "./outcome.js";
import type { Stop } from "./stop.js";

/**
 * Runs it to its end, or gives it up `graceMs` after it was told to stop; at once when the worker
 * aborts. Never rejects.
 */
export async function execute(
  handler: Handler,
  attempt: Attempt,
  stop: Stop,
  graceMs: number,
  abort: AbortSignal,
): Promise<Outcome> {
  const over = new AbortController();
  const limit = attempt.task.maxRunningTime;
  if (limit) {
    void sleep(durationMs(limit), over.signal).then((isLate) => {
      if (isLate) stop.raise("timed_out");
    });
  }
  const ends = AbortSignal.any([over.signal, abort]);
  try {
    return await Promise.race([work(handler, attempt, stop), overdue(stop, graceMs, ends)]);
  } finally {
    over.abort();
  }
}

async function work(handler: Handler, attempt: Attempt, stop: Stop): Promise<Outcome> {
  try {
    return returned(await handler(attempt));
  } catch (error) {
    return thrown(error, stop.reason);
  }
}

async function overdue(stop: Stop, graceMs: number, ends: AbortSignal): Promise<Outcome> {
  await aborted(AbortSignal.any([stop.signal, ends])).promise;
  await sleep(graceMs, ends);
  return stopped(stop.reason ?? "aborted");
}
