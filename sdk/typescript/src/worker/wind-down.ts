// The end of a worker: what runs gets time to end, and to tell how it did.

import { isAborted, within } from "../pause.js";
import type { Held } from "./held.js";
import type { Logger } from "./options.js";

// When nothing runs any more the outcomes may take this long to be told.
const OUTCOMES_MS_MAX = 30_000;
// After an abort the last words are tried this long.
const LAST_WORDS_MS_MAX = 3_000;

/** What ends, and how long it may take. */
export interface WindDown {
  /** Resolves when all attempts have ended, and the broker knows of it. */
  idle: Promise<void>;
  held: Held;
  drainMs: number;
  graceMs: number;
  outcomesMsMax?: number;
  lastWordsMsMax?: number;
  /** No more time is given; aborted from outside, or here when all the time is over. */
  abort: AbortController;
  /** Aborted here: outcomes that are not told by now never are. */
  giveUp: AbortController;
  logger: Logger;
}

/** Resolves when everything has ended, or has had its time. */
export async function windDown(what: WindDown): Promise<void> {
  const { held, abort, outcomesMsMax = OUTCOMES_MS_MAX } = what;
  let isIdle = false;
  const idle = what.idle.then(() => { isIdle = true; });
  const wait = async (ms: number, signal?: AbortSignal): Promise<boolean> => {
    await within(idle, ms, signal);
    return isIdle;
  };
  if (await wait(what.drainMs, abort.signal)) return;
  held.raiseAll("drained");
  if (await wait(what.graceMs + outcomesMsMax, abort.signal)) return;
  if (!isAborted(abort.signal)) {
    what.logger.error(
      `the broker has not heard how ${held.size} attempts ended: their tasks are run again`,
    );
    abort.abort();
  }
  held.raiseAll("aborted");
  await wait(what.lastWordsMsMax ?? LAST_WORDS_MS_MAX);
  what.giveUp.abort();
}
