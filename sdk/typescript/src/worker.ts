// The life of a worker: register, take and run tasks, drain, leave.
//
//              ┌── register ◀── UNKNOWN_SESSION ──┐
//              ▼                                  │
//  acquire ─▶ held ─▶ execute ─────────────▶ settle ─▶ removed
//   (free     │ ▲       │  │                 (until the broker answers)
//    slots)   │ └ verdicts └ context, progress, logs
//             └ heartbeat (all leases in one call), pushed commands
//
// A worker holds a lease from the answer of AcquireTasks until the broker has confirmed how the
// attempt ended. The broker's fence decides about every write; what is kept here is only a hint.

import { randomBytes } from "node:crypto";
import { hostname } from "node:os";
import { AsyncflowError, ConfigError } from "./error.js";
import { TaskState } from "./generated/asyncflow/v1/task_pb.js";
import type { Task } from "./generated/asyncflow/v1/task_pb.js";
import { LeaseVerdict } from "./generated/asyncflow/v1/worker_service_pb.js";
import type { Lease, LeasedTask } from "./generated/asyncflow/v1/worker_service_pb.js";
import { sharedAbort, within } from "./pause.js";
import { resolveSettings } from "./settings.js";
import { traceparent } from "./trace.js";
import { openTransport } from "./transport.js";
import type { OpenTransport } from "./transport.js";
import { acquireTasks, startTasks } from "./worker/acquire.js";
import { Attempt } from "./worker/attempt.js";
import { execute } from "./worker/execute.js";
import { beat, followCommands } from "./worker/heartbeat.js";
import { Held } from "./worker/held.js";
import { Link } from "./worker/link.js";
import { LogShipper } from "./worker/log.js";
import { STDERR_LOGGER } from "./worker/options.js";
import type { Logger, WorkerOptions } from "./worker/options.js";
import { noHandler, stopped } from "./worker/outcome.js";
import type { Outcome } from "./worker/outcome.js";
import { ProgressBoard } from "./worker/progress.js";
import { keepSession } from "./worker/session.js";
import type { Registration } from "./worker/session.js";
import { settle } from "./worker/settle.js";
import type { Stop } from "./worker/stop.js";
import { windDown } from "./worker/wind-down.js";

const DRAIN_MS = 30_000;
const GRACE_MS = 10_000;
const PROGRESS_INTERVAL_MS = 500;
const SLOTS_MAX = 10_000;
// What is left of an attempt's log when it has ended may take this long to be sent.
const LOG_TAIL_MS_MAX = 5_000;
const LEAVE_MS_MAX = 3_000;

/** Runs tasks by handlers. */
export class Worker {
  /** Names it across restarts. */
  readonly workerId: string;

  readonly #options: WorkerOptions;
  readonly #open: OpenTransport;
  readonly #link: Link;
  readonly #held = new Held();
  readonly #progress: ProgressBoard;
  readonly #logger: Logger;
  readonly #slots: number;
  readonly #attempts = new Set<Promise<void>>();
  /** No more tasks are taken. */
  readonly #drain = sharedAbort();
  /** No more time is given. */
  readonly #abort = sharedAbort();
  /** Outcomes that are not told by now never are. */
  readonly #giveUp = sharedAbort();
  /** Session, heartbeats, commands and progress end. */
  readonly #end = sharedAbort();
  #drainMs: number;
  #life: Promise<void> | undefined;

  /**
   * Nothing is sent yet.
   *
   * @throws ConfigError for unusable options.
   */
  constructor(options: WorkerOptions) {
    this.#options = options;
    this.#logger = options.logger ?? STDERR_LOGGER;
    this.#slots = options.slots ?? 1;
    this.#drainMs = options.drainMs ?? DRAIN_MS;
    if (!Number.isInteger(this.#slots) || this.#slots < 1 || this.#slots > SLOTS_MAX) {
      throw new ConfigError(`slots is ${this.#slots}: it must be a whole number, 1 to 10,000`);
    }
    if (Object.keys(options.handlers).length === 0) {
      throw new ConfigError("the worker has no handlers: give `handlers: { task_type: … }`");
    }
    this.workerId = options.workerId ?? madeUpId();
    this.#open = openTransport(resolveSettings(options));
    this.#link = new Link(this.#open);
    this.#progress = new ProgressBoard(this.#link, this.#held, this.#logger);
  }

  /**
   * Starts to work; resolves when the worker has registered. A broker that cannot be reached is no
   * error: it tries until there is one. A worker starts once.
   *
   * @throws AsyncflowError when the broker refuses this worker.
   */
  async start(): Promise<void> {
    if (this.#life) throw new ConfigError("this worker was started already");
    const life = this.#live();
    this.#life = life;
    // Whoever stops, or waits for its end, hears of it.
    life.catch(() => undefined);
    // When the worker ends before it has registered, what its life ended with tells why.
    await this.#link.session(this.#end.signal).catch(() => life);
  }

  /** Resolves when the worker has ended; rejects when it had to give up. */
  get ended(): Promise<void> {
    return this.#life ?? Promise.reject(new ConfigError("this worker was not started"));
  }

  /**
   * Takes nothing new, lets tasks end for `drainMs`, then tells the others to; they go back into
   * the queue. Resolves when the worker has left, `drainMs` + `graceMs` + 30 s from now at most:
   * outcomes that no broker has taken by then are lost, and their tasks are run again.
   */
  async stop(options: { drainMs?: number } = {}): Promise<void> {
    this.#drainMs = options.drainMs ?? this.#drainMs;
    this.#drain.abort();
    // Whoever waits for a free slot looks up.
    this.#held.wake();
    await this.#life;
  }

  /** As stop, but without time: handlers are told to end, and not waited for. */
  async abort(): Promise<void> {
    this.#abort.abort();
    await this.stop();
  }

  /**
   * Works until the signal is aborted, then stops; without a signal until SIGINT or SIGTERM, of
   * which a second one aborts.
   */
  async run(options: { signal?: AbortSignal } = {}): Promise<void> {
    const stop = (): void => {
      const ending = this.#drain.signal.aborted ? this.abort() : this.stop();
      // The same error as that of `start` or `ended` below.
      ending.catch(() => undefined);
    };
    const { signal } = options;
    const signals = ["SIGINT", "SIGTERM"] as const;
    if (signal) signal.addEventListener("abort", stop, { once: true });
    else for (const one of signals) process.on(one, stop);
    try {
      if (signal?.aborted) return;
      await this.start();
      await this.ended;
    } finally {
      signal?.removeEventListener("abort", stop);
      for (const one of signals) process.off(one, stop);
    }
  }

  async #live(): Promise<void> {
    const { signal } = this.#end;
    const isDraining = (): boolean => this.#drain.signal.aborted;
    const session = keepSession(
      this.#link, this.#held, this.#registration(), this.#logger, signal,
    );
    const interval = this.#options.progressIntervalMs ?? PROGRESS_INTERVAL_MS;
    const background = Promise.allSettled([
      beat(this.#link, this.#held, isDraining, this.#logger, signal),
      followCommands(this.#link, this.#held, signal),
      this.#progress.run(interval, signal),
    ]);
    const taker = {
      link: this.#link,
      held: this.#held,
      slots: this.#slots,
      logger: this.#logger,
      take: (tasks: LeasedTask[]) => { this.#take(tasks); },
    };
    try {
      const working = acquireTasks(taker, this.#drain.signal).then(() => windDown({
        idle: this.#idle(),
        held: this.#held,
        drainMs: this.#drainMs,
        graceMs: this.#options.graceMs ?? GRACE_MS,
        abort: this.#abort,
        giveUp: this.#giveUp,
        logger: this.#logger,
      }));
      await Promise.race([session, working]);
    } catch (error) {
      await this.#surrender();
      throw error;
    } finally {
      this.#end.abort();
      // It ends with an error in any case: that of the signal, or the one that is thrown above.
      await Promise.allSettled([session, background]);
    }
    // After the last heartbeat: one that came later would find the session unknown.
    await this.#leave();
    this.#open.close();
  }

  #registration(): Registration {
    const { handlers, labels = {}, version = "" } = this.#options;
    return {
      workerId: this.workerId,
      host: hostname(),
      labels,
      taskTypes: Object.keys(handlers),
      slots: this.#slots,
      version,
    };
  }

  /** Holds the tasks and runs them. */
  #take(tasks: LeasedTask[]): void {
    const later: { lease: Lease; task: Task; stop: Stop }[] = [];
    for (const { lease, task } of tasks) {
      const stop = lease && this.#held.add(lease);
      if (!lease || !task || !stop) continue;
      if (task.state === TaskState.CANCELLING) stop.raise("cancelled");
      if (task.startTime) this.#spawn(this.#run(lease, task, stop));
      else later.push({ lease, task, stop });
    }
    if (later.length > 0) this.#spawn(this.#startLater(later));
  }

  async #startLater(later: { lease: Lease; task: Task; stop: Stop }[]): Promise<void> {
    const leases = later.map(({ lease }) => lease);
    const verdict = await startTasks(this.#link, leases, this.#abort.signal);
    for (const { lease, task, stop } of later) {
      if (verdict(lease) === LeaseVerdict.LOST) {
        this.#held.remove(lease);
        continue;
      }
      if (verdict(lease) === LeaseVerdict.CANCEL) stop.raise("cancelled");
      this.#spawn(this.#run(lease, task, stop));
    }
  }

  #spawn(work: Promise<void>): void {
    const guarded = work.catch((error: unknown) => {
      this.#logger.error(`a mistake of the worker's: ${AsyncflowError.from(error).message}`);
    }).finally(() => { this.#attempts.delete(guarded); });
    this.#attempts.add(guarded);
  }

  /** One attempt from its start to the broker's confirmation. */
  async #run(lease: Lease, task: Task, stop: Stop): Promise<void> {
    const trace = traceparent(task.traceId);
    const log = new LogShipper(this.#link, lease, trace, stop.lost, this.#logger);
    const [link, progress] = [this.#link, this.#progress];
    const parts = { task, lease, stop, link, progress, log, traceparent: trace };
    try {
      const attempt = new Attempt(parts);
      let outcome = await this.#outcome(attempt, stop);
      if (!stop.lost.aborted) {
        // What the handler did not wait for comes before its end, too.
        await attempt.saved();
        await within(log.flush(), LOG_TAIL_MS_MAX, stop.lost);
        await progress.flush(lease, trace);
      }
      if (stop.reason === "lease_lost") {
        this.#logger.warn(`${lease.taskId}, attempt ${lease.attempt}: the lease is lost`);
        outcome = stopped(stop.reason);
      }
      const { signal } = this.#giveUp;
      await settle(this.#link, lease, outcome, { trace, signal, logger: this.#logger });
    } finally {
      this.#held.remove(lease);
    }
  }

  async #outcome(attempt: Attempt, stop: Stop): Promise<Outcome> {
    if (stop.reason) return stopped(stop.reason);
    const { task } = attempt;
    const { handlers, graceMs = GRACE_MS } = this.#options;
    const handler = Object.hasOwn(handlers, task.taskType) && !task.command
      ? handlers[task.taskType]
      : undefined;
    return handler
      ? execute(handler, attempt, stop, graceMs, this.#abort.signal)
      : noHandler(task);
  }

  /** This worker may not work: what it runs is told so. */
  async #surrender(): Promise<void> {
    this.#drain.abort();
    this.#held.raiseAll("lease_lost");
    this.#held.wake();
    this.#giveUp.abort();
    this.#abort.abort();
    await within(this.#idle(), this.#options.graceMs ?? GRACE_MS);
    this.#open.close();
  }

  async #idle(): Promise<void> {
    while (this.#attempts.size > 0) await Promise.all(this.#attempts);
  }

  async #leave(): Promise<void> {
    if (!this.#link.hasSession) return;
    try {
      // Deregistering puts what is still held back into the queue.
      await this.#link.call(
        (stubs, sessionId, options) => stubs.deregisterWorker({ sessionId }, options),
        { timeoutMs: LEAVE_MS_MAX, signal: AbortSignal.timeout(LEAVE_MS_MAX) },
      );
    } catch (error) {
      this.#logger.warn(`could not deregister: ${AsyncflowError.from(error).message}`);
    }
  }
}

/** Fit for a worker id, and no other's. */
function madeUpId(): string {
  const host = hostname().replace(/[^A-Za-z0-9._-]/g, "-").slice(0, 40) || "worker";
  return `${host}-${process.pid}-${randomBytes(3).toString("hex")}`;
}
