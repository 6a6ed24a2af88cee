// The generated stubs, with our errors, one trace and the repetitions of every call.

import type { DescMethod, DescService } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import type { CallOptions as ConnectOptions, Client as Stubs } from "@connectrpc/connect";
import { AsyncflowError } from "./error.js";
import { sleep } from "./pause.js";
import { identified } from "./request-id.js";
import { Tries } from "./retry.js";
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
      ? repeated(method, send as Unary, open.address, timeoutMs)
      : translated(send as Streaming, open.address);
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
        once(send as Unary, open.address, request, options)
      : translated(send as Streaming, open.address);
  }
  return made as Stubs<S>;
}

function repeated(method: DescMethod, send: Unary, address: string, defaultMs: number): Unary {
  return async (given, options = {}) => {
    const request = identified(method.input, given);
    const tries = new Tries(method.name, options.timeoutMs ?? defaultMs, performance.now());
    // One trace for all tries: the first may have created the task which the last one finds.
    const headers = new Headers(options.headers as Headers | undefined);
    if (!headers.has(TRACE_HEADER)) headers.set(TRACE_HEADER, traceparent());
    for (;;) {
      try {
        const timeoutMs = tries.leftMs(performance.now());
        return await once(send, address, request, { ...options, headers, timeoutMs });
      } catch (error) {
        const failed = AsyncflowError.from(error);
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
  address: string,
  request: unknown,
  options: ConnectOptions,
): Promise<unknown> {
  try {
    return await send(request, options);
  } catch (error) {
    if (options.signal?.aborted) throw givenUp(options.signal);
    throw AsyncflowError.from(error, address);
  }
}

function translated(send: Streaming, address: string): Streaming {
  return async function* (request, options = {}) {
    try {
      yield* send(request, options);
    } catch (error) {
      if (options.signal?.aborted) throw givenUp(options.signal);
      throw AsyncflowError.from(error, address);
    }
  };
}

/** The caller's signal has ended the call. */
export function givenUp(signal: AbortSignal | undefined): AsyncflowError {
  const cause: unknown = signal?.reason;
  return new AsyncflowError({ code: "CANCELLED", text: "the caller has given up", cause });
}
