// Taking tasks: one long poll at a time, never for more than the free slots.

import { randomUUID } from "node:crypto";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { AsyncflowError } from "../error.js";
import { LeaseVerdict } from "../generated/asyncflow/v1/worker_service_pb.js";
import type {
  Lease,
  LeasedTask,
  LeaseStatus,
} from "../generated/asyncflow/v1/worker_service_pb.js";
import { Backoff, isAborted, jittered, sleep } from "../pause.js";
import { key } from "./held.js";
import type { Held } from "./held.js";
import type { Link } from "./link.js";
import type { Logger } from "./options.js";

/** What one AcquireTasks may ask for. */
const TASKS_MAX = 1_000;
const WAIT_MS = 30_000;
const CALL_SLACK_MS = 10_000;
// An empty answer that comes sooner than this was no long poll.
const EMPTY_ANSWER_MS_MIN = 200;
const START_TIMEOUT_MS = 5_000;

/** Who takes tasks. */
export interface Taker {
  link: Link;
  held: Held;
  slots: number;
  logger: Logger;
  /** Gets what was acquired. */
  take: (tasks: LeasedTask[]) => void;
}

/** Acquires until the signal is aborted. */
export async function acquireTasks(taker: Taker, signal: AbortSignal): Promise<void> {
  const { link, held, slots, logger } = taker;
  while (!signal.aborted) {
    const free = slots - held.size;
    if (free <= 0) {
      await held.changed();
      continue;
    }
    const askedAt = performance.now();
    try {
      const tasks = await acquireOnce(link, Math.min(free, TASKS_MAX), signal);
      taker.take(tasks);
      const isQuick = performance.now() - askedAt < EMPTY_ANSWER_MS_MIN;
      // A broker that shuts down answers empty at once; it must not be asked in a circle.
      if (tasks.length === 0 && isQuick) await sleep(jittered(EMPTY_ANSWER_MS_MIN), signal);
    } catch (error) {
      if (isAborted(signal)) return;
      const failed = AsyncflowError.from(error);
      logger.error(`acquire was refused: ${failed.message}`);
      await sleep(new Backoff().after(failed), signal);
    }
  }
}

/** One acquire, repeated under the same id until it is answered: a lost answer loses no task. */
async function acquireOnce(
  link: Link,
  maxTasks: number,
  signal: AbortSignal,
): Promise<LeasedTask[]> {
  const request = { acquireId: randomUUID(), maxTasks, wait: durationFromMs(WAIT_MS), start: true };
  const answer = await link.untilAnswered(
    (stubs, sessionId, options) => stubs.acquireTasks({ ...request, sessionId }, options),
    { timeoutMs: WAIT_MS + CALL_SLACK_MS, signal },
  );
  return answer.tasks;
}

/**
 * Says that tasks are started which do not count as that yet, until a broker answers: the first
 * call may have been recorded although its answer got lost. Gives the verdict about each.
 */
export async function startTasks(
  link: Link,
  leases: Lease[],
  signal: AbortSignal,
): Promise<(lease: Lease) => LeaseVerdict> {
  let statuses: LeaseStatus[] = [];
  try {
    const answer = await link.untilAnswered(
      (stubs, sessionId, options) => stubs.startTasks({ sessionId, leases }, options),
      { timeoutMs: START_TIMEOUT_MS, signal },
    );
    statuses = answer.leases;
  } catch {
    // Refused, or told to end: what was not started goes back by itself.
  }
  const verdicts = new Map(statuses.map(({ lease, verdict }) => [lease && key(lease), verdict]));
  return (lease) => verdicts.get(key(lease)) ?? LeaseVerdict.LOST;
}

