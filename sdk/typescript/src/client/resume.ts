// Streams that are opened again after a break.

import { AsyncflowError } from "../error.js";
import { Backoff, sleep } from "../pause.js";
import { mayPass } from "../retry.js";
import { givenUp } from "../stubs.js";

/** How a stream that resumes is read. */
export interface Resuming<M> {
  /** Opens it where it is to go on. */
  open: (signal: AbortSignal) => AsyncIterable<M>;
  /** Ends it. */
  signal: AbortSignal | undefined;
  /** How long to try after a break before its error is thrown. */
  patienceMs: number;
}

/**
 * The messages of all the streams that it takes; it ends when the broker ends one well. Whoever
 * stops reading cancels the call.
 */
export async function* resumed<M>(from: Resuming<M>): AsyncGenerator<M, void, undefined> {
  const backoff = new Backoff();
  let failingSince: number | undefined;
  for (;;) {
    const call = new AbortController();
    const signal = from.signal ? AbortSignal.any([from.signal, call.signal]) : call.signal;
    try {
      for await (const message of from.open(signal)) {
        backoff.reset();
        failingSince = undefined;
        yield message;
      }
      return;
    } catch (error) {
      if (from.signal?.aborted) throw givenUp(from.signal);
      const failed = AsyncflowError.from(error);
      failingSince ??= performance.now();
      const wait = backoff.after(failed);
      const isOver = performance.now() + wait >= failingSince + from.patienceMs;
      if (isOver || !mayPass(failed)) throw failed;
      if (!await sleep(wait, from.signal)) throw givenUp(from.signal);
    } finally {
      call.abort();
    }
  }
}
