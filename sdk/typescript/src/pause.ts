// Waiting: pauses that an AbortSignal ends, and the growing, jittered ones between tries.

import type { AsyncflowError } from "./error.js";

const WAIT_MIN_MS = 100;
const WAIT_MAX_MS = 5_000;
// The longest time that a timer of Node takes.
const TIMER_MS_MAX = 0x7fff_ffff;

/** Waits so long, or until the signal is aborted; tells whether the time is over. */
export function sleep(ms: number, signal?: AbortSignal): Promise<boolean> {
  if (signal?.aborted) return Promise.resolve(false);
  return new Promise((resolve) => {
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", onAbort);
      resolve(true);
    }, Math.min(Math.max(0, ms), TIMER_MS_MAX));
    function onAbort(): void {
      clearTimeout(timer);
      resolve(false);
    }
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}

/** Resolves when the signal is aborted. `done` takes the listener away. */
export function aborted(signal: AbortSignal): { promise: Promise<void>; done: () => void } {
  let done: () => void = () => undefined;
  const promise = new Promise<void>((resolve) => {
    if (signal.aborted) {
      resolve();
      return;
    }
    const onAbort = (): void => { resolve(); };
    signal.addEventListener("abort", onAbort, { once: true });
    done = () => { signal.removeEventListener("abort", onAbort); };
  });
  return { promise, done };
}

/** Between a half and the whole of it. */
export function jittered(ms: number): number {
  return ms * (0.5 + Math.random() / 2);
}

/** The waits between tries: they grow to five seconds, and begin anew after a success. */
export class Backoff {
  #next = WAIT_MIN_MS;

  /** How long to wait before the next try, at least as long as the broker asks for. */
  after(error: AsyncflowError): number {
    const wait = jittered(this.#next);
    this.#next = Math.min(this.#next * 2, WAIT_MAX_MS);
    return Math.max(wait, error.retryAfterMs ?? 0);
  }

  /** Something came through. */
  reset(): void {
    this.#next = WAIT_MIN_MS;
  }
}
