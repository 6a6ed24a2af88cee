// Waiting: pauses that an AbortSignal ends, and the growing, jittered ones between tries.

import { setMaxListeners } from "node:events";
import type { AsyncflowError } from "./error.js";

const WAIT_MIN_MS = 100;
const WAIT_MAX_MS = 5_000;
// The longest time that a timer of Node takes.
const TIMER_MS_MAX = 0x7fff_ffff;

/** Waits so long, or until the signal is aborted; tells whether the time is over. */
export async function sleep(ms: number, signal?: AbortSignal): Promise<boolean> {
  const end = performance.now() + ms;
  for (let left = Math.max(0, ms); !signal?.aborted; left = end - performance.now()) {
    await pause(Math.min(left, TIMER_MS_MAX), signal);
    // A timer may ring a moment early, by another clock; that is as good as the time.
    if (left <= TIMER_MS_MAX) return !signal?.aborted;
  }
  return false;
}

function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    }, ms);
    function onAbort(): void {
      clearTimeout(timer);
      resolve();
    }
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}

/** Resolves when the work has ended, the time is over, or the signal is aborted. */
export async function within(
  work: Promise<unknown>,
  ms: number,
  signal?: AbortSignal,
): Promise<void> {
  // A timer that is left behind would keep the process alive.
  const over = new AbortController();
  const ends = signal ? AbortSignal.any([signal, over.signal]) : over.signal;
  try {
    await Promise.race([work, sleep(ms, ends)]);
  } finally {
    over.abort();
  }
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

/** Whether it is aborted by now; the compiler takes `aborted` for what it was before an await. */
export function isAborted(signal: AbortSignal | undefined): boolean {
  return signal?.aborted ?? false;
}

/** A controller whose signal many may listen to without a warning of Node's. */
export function sharedAbort(): AbortController {
  const controller = new AbortController();
  setMaxListeners(0, controller.signal);
  return controller;
}

/** Between a half and the whole of it. */
export function jittered(ms: number): number {
  return ms * (0.5 + Math.random() / 2);
}

/** The waits between tries: they grow to five seconds, and begin anew after a success. */
export class Backoff {
  #next = WAIT_MIN_MS;

  /** How long to wait before the next try: as long as the broker asks for, and a wait on top of
   * that, since it asks the same of everybody. */
  after(error: AsyncflowError): number {
    const wait = jittered(this.#next);
    this.#next = Math.min(this.#next * 2, WAIT_MAX_MS);
    return (error.retryAfterMs ?? 0) + wait;
  }

  /** Something came through. */
  reset(): void {
    this.#next = WAIT_MIN_MS;
  }
}
