// The generated stubs, with our errors, one trace and the repetitions of every call.

import { create } from "@bufbuild/protobuf";
import type { DescMethod, DescService } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import type { CallOptions as ConnectOptions, Client as Stubs } from "@connectrpc/connect";
import { AsyncflowError } from "./error.js";
import { sleep } from "./pause.js";
import { identified } from "./request-id.js";
import { sendableMs, Tries } from "./retry.js";
import { TRACE_HEADER, traceparent } from "./trace.js";
import type { OpenTransport } from "./transport.js";

export type { Stubs };

/** What may be said of each call. */
export interface CallOptions {
  /** Gives up when it is aborted, with an error of code CANCELLED and its reason as `cause`. */
  signal?: AbortSignal;
  /** Deadline of the whole call, its repetitions included. Default: the client's, 30 s. */
  timeoutMs?: number;
}

type Unary = (request: unknown, options?: ConnectOptions) => Promise<unknown>;
type Streaming = (request: unknown, options?: ConnectOptions) => AsyncIterable<unknown>;

/**
 * Stubs of a service. Unary calls carry request ids where there is a place for one, and are
 * repeated within their deadline as far as that is safe; streams are not repeated.
 */
export function openStubs<S extends DescService>(
  service: S,
  open: OpenTransport,
  timeoutMs: number,
): Stubs<S> {
  const raw = createClient(service, open.transport) as Record<string, unknown>;
  const made: Record<string, unknown> = {};
  for (const method of service.methods) {
    const send = raw[method.localName];
    made[method.localName] = method.methodKind === "unary"
      ? repeated(method, send as Unary, open, timeoutMs)
      : translated(send as Streaming, open);
  }
  return made as Stubs<S>;
}

/** Stubs that send each call once: who uses them repeats in ways of their own. */
export function openStubsOnce<S extends DescService>(service: S, open: OpenTransport): Stubs<S> {
  const raw = createClient(service, open.transport) as Record<string, unknown>;
  const made: Record<string, unknown> = {};
  for (const method of service.methods) {
    const send = raw[method.localName];
    made[method.localName] = method.methodKind === "unary"
      ? (request: unknown, options: ConnectOptions = {}) =>
        once(send as Unary, open, request, options)
      : translated(send as Streaming, open);
  }
  return made as Stubs<S>;
}

function repeated(
  method: DescMethod,
  send: Unary,
  open: OpenTransport,
  defaultMs: number,
): Unary {
  return async (given, options = {}) => {
    const request = identified(method.input, given);
    const tries = new Tries(method, options.timeoutMs ?? defaultMs, performance.now());
    // One trace for all tries: the first may have created the task which the last one finds.
    const headers = new Headers(options.headers as Headers | undefined);
    if (!headers.has(TRACE_HEADER)) headers.set(TRACE_HEADER, traceparent());
    for (;;) {
      try {
        const timeoutMs = tries.leftMs(performance.now());
        return await once(send, open, request, { ...options, headers, timeoutMs });
      } catch (error) {
        const failed = AsyncflowError.from(error);
        if (tries.isDoneBefore(failed)) return create(method.output);
        const wait = options.signal?.aborted
          ? undefined
          : tries.waitAfter(failed, performance.now());
        if (wait === undefined) throw failed;
        if (!await sleep(wait, options.signal)) throw givenUp(options.signal);
      }
    }
  };
}

async function once(
  send: Unary,
  open: OpenTransport,
  request: unknown,
  options: ConnectOptions,
): Promise<unknown> {
  try {
    return await send(request, timed(options));
  } catch (error) {
    throw translation(error, open, options.signal);
  }
}

function translated(send: Streaming, open: OpenTransport): Streaming {
  return async function* (request, options = {}) {
    try {
      yield* send(request, timed(options));
    } catch (error) {
      throw translation(error, open, options.signal);
    }
  };
}

/** With a deadline, if any, that can be told. */
function timed(options: ConnectOptions): ConnectOptions {
  const { timeoutMs } = options;
  return timeoutMs === undefined ? options : { ...options, timeoutMs: sendableMs(timeoutMs) };
}

function translation(
  error: unknown,
  open: OpenTransport,
  signal: AbortSignal | undefined,
): AsyncflowError {
  if (signal?.aborted) return givenUp(signal);
  const failed = AsyncflowError.from(error, open.address);
  const { closed } = open;
  // A broker that has answered before the end keeps its word.
  return closed && failed.inTransit
    ? new AsyncflowError({ code: "CANCELLED", text: closed.message, cause: closed })
    : failed;
}

/** The caller's signal has ended the call. */
export function givenUp(signal: AbortSignal | undefined): AsyncflowError {
  const cause: unknown = signal?.reason;
  return new AsyncflowError({ code: "CANCELLED", text: "the caller has given up", cause });
}
