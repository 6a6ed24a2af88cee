// The way to the broker, and the session that every call of a worker carries.

import { AsyncflowError } from "../error.js";
import { WorkerService } from "../generated/asyncflow/v1/worker_service_pb.js";
import { aborted, Backoff, sleep } from "../pause.js";
import { givenUp, openStubsOnce } from "../stubs.js";
import type { Stubs } from "../stubs.js";
import { TRACE_HEADER, traceparent } from "../trace.js";
import { ClosedError } from "../transit.js";
import type { OpenTransport } from "../transport.js";

/** What a registration gave. */
export interface Session {
  id: string;
  heartbeatIntervalMs: number;
  leaseTtlMs: number;
}

/** What may be said of a worker's call. */
export interface LinkCall {
  /** Deadline of one try. */
  timeoutMs: number;
  /** Ends the call and its repetitions. */
  signal?: AbortSignal | undefined;
  /** Default: a trace of its own. */
  trace?: string | undefined;
}

interface TryOptions {
  timeoutMs: number;
  signal?: AbortSignal;
  headers: Headers;
}

type Send<T> = (
  stubs: Stubs<typeof WorkerService>,
  sessionId: string,
  options: TryOptions,
) => Promise<T>;

/** Unary calls under the session in force. */
export class Link {
  readonly stubs: Stubs<typeof WorkerService>;
  #session: Session | undefined;
  #waiting: (() => void)[] = [];

  constructor(open: OpenTransport) {
    this.stubs = openStubsOnce(WorkerService, open);
  }

  /** The session in force; waits for one. */
  async session(signal?: AbortSignal): Promise<Session> {
    while (this.#session === undefined) await this.#changed(signal);
    return this.#session;
  }

  get hasSession(): boolean {
    return this.#session !== undefined;
  }

  setSession(session: Session): void {
    this.#session = session;
    this.#wake();
  }

  /** Waits until the session in force was found to be unknown. */
  async sessionLost(signal?: AbortSignal): Promise<void> {
    while (this.#session !== undefined) await this.#changed(signal);
  }

  /** Notes what an error says about the session. */
  noteError(sessionId: string, error: AsyncflowError): void {
    if (error.reason !== "UNKNOWN_SESSION" || this.#session?.id !== sessionId) return;
    this.#session = undefined;
    this.#wake();
  }

  /** One try of a call; waits for a session. */
  async call<T>(send: Send<T>, { timeoutMs, signal, trace }: LinkCall): Promise<T> {
    const session = await this.session(signal);
    const headers = new Headers({ [TRACE_HEADER]: trace ?? traceparent() });
    try {
      return await send(this.stubs, session.id, {
        timeoutMs,
        headers,
        ...(signal ? { signal } : {}),
      });
    } catch (error) {
      const failed = AsyncflowError.from(error);
      this.noteError(session.id, failed);
      throw failed;
    }
  }

  /** The same, repeated until it is answered or refused for good. */
  async untilAnswered<T>(send: Send<T>, options: LinkCall): Promise<T> {
    const backoff = new Backoff();
    for (;;) {
      try {
        return await this.call(send, options);
      } catch (error) {
        const failed = AsyncflowError.from(error);
        if (options.signal?.aborted || !isWorthRepeating(failed)) throw failed;
        if (!await sleep(backoff.after(failed), options.signal)) throw givenUp(options.signal);
      }
    }
  }

  async #changed(signal: AbortSignal | undefined): Promise<void> {
    const changed = new Promise<void>((resolve) => { this.#waiting.push(resolve); });
    if (!signal) {
      await changed;
      return;
    }
    const end = aborted(signal);
    await Promise.race([changed, end.promise]);
    end.done();
    if (signal.aborted) throw givenUp(signal);
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}

/** Whether a call of a worker may get another answer later: everything but a clear refusal. */
export function isWorthRepeating(error: AsyncflowError): boolean {
  if (error.cause instanceof ClosedError) return false;
  if (error.retryable || error.reason === "UNKNOWN_SESSION") return true;
  switch (error.code) {
    case "DEADLINE_EXCEEDED":
    case "CANCELLED":
    case "INTERNAL":
    case "UNKNOWN":
    case "DATA_LOSS":
    case "UNAUTHENTICATED":
      return true;
    default:
      return false;
  }
}
