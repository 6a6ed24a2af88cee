// Why a running attempt should stop, and the signal that tells it.

import { sharedAbort } from "../pause.js";

/** Why an attempt should stop; later reasons overrule earlier ones. */
export type StopReason = "drained" | "cancelled" | "timed_out" | "lease_lost" | "aborted";

// The weakest first.
const STRENGTH: readonly StopReason[] = [
  "drained",
  "cancelled",
  "timed_out",
  "lease_lost",
  "aborted",
];

/** For people. */
export const STOP_TEXT: Readonly<Record<StopReason, string>> = {
  drained: "the worker shuts down",
  cancelled: "the task was cancelled",
  timed_out: "max_running_time is over",
  lease_lost: "another attempt is in force",
  aborted: "the worker was told to end at once",
};

/** The reason of an attempt's signal: what `signal.throwIfAborted()` throws. */
export class StopError extends Error {
  override readonly name = "StopError";

  constructor(readonly stopReason: StopReason) {
    super(STOP_TEXT[stopReason]);
  }
}

/** The stop of one attempt. */
export class Stop {
  #reason: StopReason | undefined;
  readonly #told = sharedAbort();
  readonly #lost = sharedAbort();
  /** No heartbeat got through for a whole lease. */
  isCutOff = false;

  /** Raises the reason; a weaker one than the present is ignored. */
  raise(reason: StopReason): void {
    if (this.#reason !== undefined && rank(reason) <= rank(this.#reason)) return;
    this.#reason = reason;
    this.#told.abort(new StopError(reason));
    if (rank(reason) >= rank("lease_lost")) this.#lost.abort(new StopError(reason));
  }

  /** Why it should stop, if it should. */
  get reason(): StopReason | undefined {
    return this.#reason;
  }

  /** Aborted at the first reason. */
  get signal(): AbortSignal {
    return this.#told.signal;
  }

  /** Aborted when nothing that the attempt does counts any more. */
  get lost(): AbortSignal {
    return this.#lost.signal;
  }
}

function rank(reason: StopReason): number {
  return STRENGTH.indexOf(reason);
}
