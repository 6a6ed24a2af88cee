// The end of attempts: told until the broker answers.

import { AsyncflowError, isLeaseLost } from "../error.js";
import type { Lease } from "../generated/asyncflow/v1/worker_service_pb.js";
import type { Link, LinkCall } from "./link.js";
import type { Logger } from "./options.js";
import { resultRefused } from "./outcome.js";
import type { Outcome } from "./outcome.js";

const CALL_TIMEOUT_MS = 15_000;

/** Tells how an attempt ended. A repeated call is OK: the broker knows what it has recorded. */
export async function settle(
  link: Link,
  lease: Lease,
  outcome: Outcome,
  how: { trace: string; signal: AbortSignal; logger: Logger },
): Promise<void> {
  const { trace, signal, logger } = how;
  try {
    const call = { timeoutMs: CALL_TIMEOUT_MS, trace, signal };
    await send(link, lease, outcome, call).catch((error: unknown) => {
      const refused = AsyncflowError.from(error);
      if (outcome.kind !== "complete" || signal.aborted || isLeaseLost(refused)) throw refused;
      // Without an outcome the task would be run again when its lease is over, for ever.
      return send(link, lease, resultRefused(refused.message), call);
    });
  } catch (error) {
    const failed = AsyncflowError.from(error);
    const which = `${lease.taskId}, attempt ${lease.attempt}`;
    if (isLeaseLost(failed)) {
      logger.warn(`${which}: another attempt is in force, the outcome was rejected`);
    } else {
      logger.error(`${which}: the outcome was not recorded: ${failed.message}`);
    }
  }
}

async function send(link: Link, lease: Lease, outcome: Outcome, call: LinkCall): Promise<void> {
  switch (outcome.kind) {
    case "complete": {
      const { request } = outcome;
      await link.untilAnswered(
        (stubs, sessionId, options) =>
          stubs.completeTask(Object.assign(request, { sessionId, lease }), options),
        call,
      );
      break;
    }
    case "fail": {
      const { request } = outcome;
      await link.untilAnswered(
        (stubs, sessionId, options) =>
          stubs.failTask(Object.assign(request, { sessionId, lease }), options),
        call,
      );
      break;
    }
    case "release": {
      const { request } = outcome;
      await link.untilAnswered(
        (stubs, sessionId, options) =>
          stubs.releaseTask(Object.assign(request, { sessionId, lease }), options),
        call,
      );
      break;
    }
    case "abandoned":
      break;
  }
}
