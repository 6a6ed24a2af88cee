// Registration, at the start and whenever the broker has forgotten the session.

import { randomUUID } from "node:crypto";
import { durationMs } from "@bufbuild/protobuf/wkt";
import type { Duration } from "@bufbuild/protobuf/wkt";
import { AsyncflowError, ConfigError } from "../error.js";
import type { CodeName } from "../error.js";
import type { RegisterWorkerResponse } from "../generated/asyncflow/v1/worker_service_pb.js";
import { Backoff, sleep } from "../pause.js";
import { givenUp } from "../stubs.js";
import type { Held } from "./held.js";
import type { Link, Session } from "./link.js";
import type { Logger } from "./options.js";

const CALL_TIMEOUT_MS = 10_000;
// So many sessions in a row that were lost within one lease are no accident.
const QUICK_LOSSES_MAX = 2;
const REFUSALS: readonly CodeName[] = [
  "INVALID_ARGUMENT",
  "PERMISSION_DENIED",
  "UNAUTHENTICATED",
  "UNIMPLEMENTED",
];

/** As what a worker registers. */
export interface Registration {
  workerId: string;
  host: string;
  labels: Record<string, string>;
  taskTypes: string[];
  slots: number;
  version: string;
}

/**
 * Keeps a session in force until the signal is aborted. It fails when the broker refuses this
 * worker, at its first registration only, since tasks are running later; or when another process
 * registers under the same id: of two that do, the one that came first gives way, or they would
 * take their tasks from each other for ever.
 */
export async function keepSession(
  link: Link,
  held: Held,
  registration: Registration,
  logger: Logger,
  signal: AbortSignal,
): Promise<never> {
  const incarnation = randomUUID();
  let quickLosses = 0;
  for (let isFirst = true; ; isFirst = false) {
    const session = await register(link, held, registration, incarnation, isFirst, logger, signal);
    const registeredAt = performance.now();
    link.setSession(session);
    await link.sessionLost(signal);
    logger.warn("the broker does not know this session, registering again");
    const isQuick = performance.now() - registeredAt < session.leaseTtlMs;
    quickLosses = isQuick ? quickLosses + 1 : 0;
    if (quickLosses >= QUICK_LOSSES_MAX) {
      const id = registration.workerId;
      throw new ConfigError(
        `another worker registers as ${id}: each needs its own \`workerId\``,
      );
    }
  }
}

async function register(
  link: Link,
  held: Held,
  registration: Registration,
  incarnation: string,
  isFirst: boolean,
  logger: Logger,
  signal: AbortSignal,
): Promise<Session> {
  const backoff = new Backoff();
  for (;;) {
    const adopted = held.leases();
    try {
      const request = { ...registration, incarnation, adopted };
      const options = { timeoutMs: CALL_TIMEOUT_MS, signal };
      const answer = await link.stubs.registerWorker(request, options);
      held.keepAdopted(adopted, answer.adopted);
      return sessionOf(answer);
    } catch (error) {
      const failed = AsyncflowError.from(error);
      if (signal.aborted || (isFirst && REFUSALS.includes(failed.code))) throw failed;
      logger.warn(`cannot register, trying again: ${failed.message}`);
      if (!await sleep(backoff.after(failed), signal)) throw givenUp(signal);
    }
  }
}

function sessionOf(answer: RegisterWorkerResponse): Session {
  return {
    id: answer.sessionId,
    heartbeatIntervalMs: msOf(answer.heartbeatInterval, 10_000),
    leaseTtlMs: msOf(answer.leaseTtl, 30_000),
  };
}

function msOf(span: Duration | undefined, otherwise: number): number {
  return (span && durationMs(span)) || otherwise;
}
