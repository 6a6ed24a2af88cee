// Creating many tasks by one stream.

import { create } from "@bufbuild/protobuf";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { AsyncflowError } from "../error.js";
import {
  CreateTaskRequestSchema,
  StreamCreateTasksRequestSchema,
} from "../generated/asyncflow/v1/broker_service_pb.js";
import type {
  BrokerService,
  CreateTaskRequest,
  StreamCreateTasksRequest,
} from "../generated/asyncflow/v1/broker_service_pb.js";
import { identified } from "../request-id.js";
import { givenUp } from "../stubs.js";
import type { Stubs } from "../stubs.js";

/** A task to create, with a request id of its own if one is given. */
export type CreateRequest = MessageInitShape<typeof CreateTaskRequestSchema>;

/** What became of one request of a stream. */
export interface Created {
  /** The task's id; empty when it was not created. */
  readonly taskId: string;
  /** An earlier request with this request id had created it. */
  readonly deduplicated: boolean;
  /** Why it was not created. */
  readonly error: AsyncflowError | undefined;
}

// Requests that go in one message, if they are there at the same time.
const MESSAGE_REQUESTS_MAX = 500;
// What they may weigh: half of the smallest limit that a broker can be given for its messages.
const MESSAGE_BYTES_MAX = 512 * 1024;
const REQUEST_BYTES = 1_024;
const NOT_YET = Symbol("not yet");

/** Where the requests come from. */
interface Source {
  failed?: { with: unknown };
}

/** One result for each request, in their order. */
export async function* createStream(
  broker: Stubs<typeof BrokerService>,
  requests: Iterable<CreateRequest> | AsyncIterable<CreateRequest>,
  signal: AbortSignal | undefined,
): AsyncGenerator<Created, void, undefined> {
  const call = new AbortController();
  const both = signal ? AbortSignal.any([signal, call.signal]) : call.signal;
  const source: Source = {};
  try {
    const answers = broker.streamCreateTasks(messages(requests, source), { signal: both });
    for await (const answer of answers) {
      for (const { taskId, deduplicated, error } of answer.results) {
        const refused = error && AsyncflowError.fromTaskError(error);
        yield { taskId, deduplicated, error: refused };
      }
    }
  } catch (error) {
    // What the caller's own iterable threw is the caller's.
    if (source.failed) throw source.failed.with;
    throw signal?.aborted ? givenUp(signal) : error;
  } finally {
    call.abort();
  }
  if (source.failed) throw source.failed.with;
}

/** Puts together what is there at the same time; does not wait for more. */
export async function* messages(
  requests: Iterable<CreateRequest> | AsyncIterable<CreateRequest>,
  source: Source = {},
): AsyncGenerator<StreamCreateTasksRequest, void, undefined> {
  const iterator = Symbol.asyncIterator in requests
    ? requests[Symbol.asyncIterator]()
    : requests[Symbol.iterator]();
  try {
    let pending = next(iterator, source);
    for (;;) {
      const first = await pending;
      if (first.done) return;
      const batch = [first.value];
      let weight = weightOf(first.value);
      pending = next(iterator, source);
      while (batch.length < MESSAGE_REQUESTS_MAX && weight < MESSAGE_BYTES_MAX) {
        const more = await Promise.race([pending, soon()]);
        if (more === NOT_YET || more.done) break;
        weight += weightOf(more.value);
        batch.push(more.value);
        pending = next(iterator, source);
      }
      // Awaited in the next round; nobody else looks whether it fails before.
      pending.catch(() => undefined);
      yield create(StreamCreateTasksRequestSchema, { requests: batch });
    }
  } finally {
    await iterator.return?.();
  }
}

/** The next request with an id. What fails here is the caller's, unlike a broken connection. */
async function next(
  iterator: Iterator<CreateRequest> | AsyncIterator<CreateRequest>,
  source: Source,
): Promise<IteratorResult<CreateTaskRequest, unknown>> {
  try {
    const one = await iterator.next();
    if (one.done) return { done: true, value: undefined };
    return { value: identified(CreateTaskRequestSchema, one.value) as CreateTaskRequest };
  } catch (error) {
    source.failed = { with: error };
    throw error;
  }
}

function weightOf(request: CreateTaskRequest): number {
  const { payload, context } = request.task ?? {};
  return REQUEST_BYTES + (payload?.data.length ?? 0) + (context?.data.length ?? 0);
}

function soon(): Promise<typeof NOT_YET> {
  return new Promise((resolve) => {
    setImmediate(() => { resolve(NOT_YET); });
  });
}
