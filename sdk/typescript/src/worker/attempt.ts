// What a handler has in hand while it works on a task.

import type { MessageInitShape } from "@bufbuild/protobuf";

import { isContent, json, parseJson } from "../content.js";
import { AsyncflowError, isLeaseLost, LeaseLostError } from "../error.js";
import type { Content, Task } from "../generated/asyncflow/v1/task_pb.js";
import type {
  Lease,
  SaveContextRequestSchema,
} from "../generated/asyncflow/v1/worker_service_pb.js";
import type { Link } from "./link.js";
import type { LogShipper } from "./log.js";
import { BadContext } from "./outcome.js";
import type { ProgressBoard, ProgressNews } from "./progress.js";
import { STOP_TEXT } from "./stop.js";
import type { Stop, StopReason } from "./stop.js";

const CALL_TIMEOUT_MS = 15_000;

/** What an attempt is made of. */
export interface AttemptParts {
  task: Task;
  lease: Lease;
  stop: Stop;
  link: Link;
  progress: ProgressBoard;
  log: LogShipper;
  traceparent: string;
}

/** What to save; what is left out stays as it is. */
export interface Save {
  /** The stage that is done; at most 64 bytes. */
  stage?: string;
  /** A value that JSON can say, or a {@link Content}; at most the type's `max_context_bytes`. */
  context?: unknown;
}

/** One attempt at a task. After its end the broker refuses what it writes. */
export class Attempt {
  /** The task as it was handed out. */
  readonly task: Task;
  /** 1, 2, 3 … over all runs of the task. */
  readonly number: number;
  /** The attempt's place in the task's trace, a W3C `traceparent` for calls to others. */
  readonly traceparent: string;

  readonly #parts: AttemptParts;
  #stage: string;
  #context: Content | undefined;
  #saving: Promise<unknown> = Promise.resolve();
  // Each save names the version that it is made upon, so that one which was held up on its way, and
  // repeated meanwhile, cannot bring an older context back.
  #version: bigint;
  // A save came to no end here, so the version may be another one.
  #isDoubtful = false;

  /** Made by the worker. */
  constructor(parts: AttemptParts) {
    this.#parts = parts;
    this.task = parts.task;
    this.number = parts.lease.attempt;
    this.traceparent = parts.traceparent;
    this.#stage = parts.task.stage;
    this.#context = parts.task.context;
    this.#version = parts.task.contextVersion;
  }

  /** What the payload says as JSON; undefined if it is empty. The type is the caller's word. */
  payload<T = unknown>(): T | undefined {
    return this.#parsed<T>(this.task.payload, "payload");
  }

  /** What the context that was saved last says as JSON; undefined if there is none. */
  context<T = unknown>(): T | undefined {
    return this.#parsed<T>(this.#context, "context");
  }

  /** The stage that was saved last, by this attempt or one before: go on behind it. */
  get stage(): string {
    return this.#stage;
  }

  /**
   * Aborted when the attempt should save what is needed and end. Its reason is a StopError, so
   * `signal.throwIfAborted()` ends a handler as what was stopped. May be given to whatever takes an
   * AbortSignal.
   */
  get signal(): AbortSignal {
    return this.#parts.stop.signal;
  }

  /** Why the attempt should stop, if it should; a stronger reason may follow the first. */
  get stopReason(): StopReason | undefined {
    return this.#parts.stop.reason;
  }

  /**
   * No heartbeat got through for a whole lease: another worker may have taken the task over. Go on,
   * since the broker decides, but hold back what cannot be undone.
   */
  get isCutOff(): boolean {
    return this.#parts.stop.isCutOff;
  }

  /**
   * Saves stage and context together. Durable when it resolves, with the context's version. Waits
   * as long as no broker can be reached; saves that are asked for at once follow each other.
   *
   * @throws LeaseLostError when another attempt is in force: end at once.
   * @throws InvalidRequestError when stage or context are too large.
   */
  save(what: Save): Promise<bigint> {
    const saving = this.#saving.then(() => this.#save(what));
    // Who comes next goes on whatever became of this one; its caller hears what.
    this.#saving = saving.catch(() => undefined);
    return saving;
  }

  /** Says how far it is, 0 to 100; sent on within a second, the latest word wins. */
  progress(percent: number, message?: string): void {
    this.report(message === undefined ? { percent } : { percent, message });
  }

  /** Sets the latest value of named metrics, at most 32 names. */
  metrics(metrics: Readonly<Record<string, number>>): void {
    this.report({ metrics });
  }

  /** Says all of it at once. */
  report(news: ProgressNews): void {
    this.#parts.progress.put(this.#parts.lease, news);
  }

  /** Adds a line to the task's log. Resolves at once unless much is waiting to be sent. */
  log(line: string): Promise<void> {
    return this.#parts.log.write(`${line}\n`);
  }

  /** Resolves when no save is under way. */
  async saved(): Promise<void> {
    await this.#saving;
  }

  async #save({ stage, context }: Save): Promise<bigint> {
    const content = context === undefined || isContent(context) ? context : json(context);
    const version = await this.#saveUpon({
      lease: this.#parts.lease,
      ...(stage === undefined ? {} : { stage }),
      ...(content === undefined ? {} : { context: content }),
    });
    this.#stage = stage ?? this.#stage;
    this.#context = content ?? this.#context;
    return version;
  }

  async #saveUpon(request: MessageInitShape<typeof SaveContextRequestSchema>): Promise<bigint> {
    const { link, stop, traceparent } = this.#parts;
    const expectedVersion = this.#version;
    const wasDoubtful = this.#isDoubtful;
    this.#isDoubtful = true;
    try {
      const { contextVersion } = await link.untilAnswered(
        (stubs, sessionId, options) =>
          stubs.saveContext({ ...request, expectedVersion, sessionId }, options),
        { timeoutMs: CALL_TIMEOUT_MS, signal: stop.lost, trace: traceparent },
      );
      this.#version = contextVersion;
      this.#isDoubtful = false;
      return contextVersion;
    } catch (error) {
      const failed = AsyncflowError.from(error);
      const current = failed.metadata["context_version"];
      if (wasDoubtful && failed.reason === "CONTEXT_VERSION" && current !== undefined) {
        this.#version = BigInt(current);
        this.#isDoubtful = false;
        return this.#saveUpon(request);
      }
      if (isLeaseLost(failed)) stop.raise("lease_lost");
      else if (stop.lost.aborted) {
        const text = STOP_TEXT[stop.reason ?? "lease_lost"];
        throw new LeaseLostError({ code: "ABORTED", text, reason: "LEASE_LOST" });
      }
      throw failed;
    }
  }

  #parsed<T>(content: Content | undefined, what: string): T | undefined {
    try {
      return parseJson<T>(content);
    } catch (cause) {
      throw new BadContext(`the ${what} is no JSON: ${(cause as Error).message}`, { cause });
    }
  }
}
