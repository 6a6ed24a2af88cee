// How a worker presents itself and behaves.

import type { ConnectionOptions } from "../settings.js";
import type { Attempt } from "./attempt.js";

/**
 * Works on one attempt at a task and returns its result, or a promise of it: a value that JSON can
 * say, a {@link Content}, or nothing.
 *
 * What it throws fails the attempt: {@link Retry} and {@link Fail} say how, everything else is
 * tried again by the task's retry policy. When `attempt.signal` is aborted it should save what is
 * needed and end soon; what it throws then is taken as the stop's consequence.
 *
 * It runs on the thread that sends heartbeats: work that keeps the thread busy for seconds belongs
 * into a `Worker` of `node:worker_threads` or a child process.
 */
export type Handler = (attempt: Attempt) => unknown;

/** Where a worker says what happens. */
export interface Logger {
  info(message: string): void;
  warn(message: string): void;
  error(message: string): void;
}

/** How a worker presents itself and behaves. */
export interface WorkerOptions extends ConnectionOptions {
  /** Handlers by task type. */
  handlers: Readonly<Record<string, Handler>>;
  /**
   * Names the worker across restarts; 1 to 64 bytes `[A-Za-z0-9._-]`, no two at once. Default: made
   * of host, process id and chance.
   */
  workerId?: string;
  /** At most 32. */
  labels?: Record<string, string>;
  /** How many tasks it runs at once, 1 to 10,000. Default 1. */
  slots?: number;
  /** The program's version, for people. */
  version?: string;
  /** When it stops, how long attempts may go on before they are told to end. Default 30 s. */
  drainMs?: number;
  /**
   * How long an attempt that was told to end may go on; then the task is given up, whatever the
   * handler still does. Default 10 s.
   */
  graceMs?: number;
  /** Least time between two reports of progress. Default 500 ms. */
  progressIntervalMs?: number;
  /** Default: warnings and errors go to stderr. */
  logger?: Logger;
}

/** Warnings and errors go to stderr. */
export const STDERR_LOGGER: Logger = {
  info: () => undefined,
  warn: (message) => { console.error(`asyncflow: ${message}`); },
  error: (message) => { console.error(`asyncflow: ${message}`); },
};
