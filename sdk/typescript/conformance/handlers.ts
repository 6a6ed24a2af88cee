// The handlers that every runner has, see sdk/conformance/README.md.

import { setTimeout as pause } from "node:timers/promises";
import { Fail, Retry } from "../src/index.js";
import type { Attempt, Handler } from "../src/index.js";

/** By name. */
export const HANDLERS: Readonly<Record<string, Handler>> = {
  echo: (attempt) => attempt.task.payload,
  stages,
  until_stopped: untilStopped,
  retry_later: (attempt) => {
    if (attempt.number === 1) throw new Retry("not now", { afterMs: 1_000 });
    return { attempt: attempt.number };
  },
  permanent: () => {
    throw new Fail("this will never do");
  },
  save_until_lost: saveUntilLost,
};

async function stages(attempt: Attempt): Promise<unknown> {
  if (attempt.number === 1) {
    await attempt.save({ stage: "one", context: { step: 1 } });
    throw new Error("once is not enough");
  }
  const step = attempt.context<{ step: number }>()?.step;
  return { stage: attempt.stage, step, attempt: attempt.number };
}

async function untilStopped(attempt: Attempt): Promise<void> {
  attempt.progress(10);
  await new Promise((resolve) => {
    attempt.signal.addEventListener("abort", resolve, { once: true });
  });
  attempt.signal.throwIfAborted();
}

async function saveUntilLost(attempt: Attempt): Promise<unknown> {
  if (attempt.number > 1) return { attempt: attempt.number };
  for (let n = 1; ; n += 1) {
    // Throws when the lease is lost.
    await attempt.save({ context: { n } });
    await pause(100, undefined, { signal: attempt.signal });
  }
}
