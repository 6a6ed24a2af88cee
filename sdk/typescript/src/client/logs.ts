// Reading what a task wrote, over breaks of the connection.

import { create } from "@bufbuild/protobuf";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { StreamTaskLogsRequestSchema } from "../generated/asyncflow/v1/broker_service_pb.js";
import type {
  BrokerService,
  StreamTaskLogsResponse,
} from "../generated/asyncflow/v1/broker_service_pb.js";
import type { Stubs } from "../stubs.js";
import { resumed } from "./resume.js";

/** What to read of a task's log. */
export type LogRequest = Omit<
  MessageInitShape<typeof StreamTaskLogsRequestSchema>,
  "taskId" | "$typeName" | "$unknown"
>;

/** Attempt and position up to which everything was given out. */
export interface Seen {
  attempt: number;
  end: bigint;
}

/** What a task wrote, piece by piece; after a break nothing is given out twice. */
export async function* streamLogs(
  broker: Stubs<typeof BrokerService>,
  taskId: string,
  what: LogRequest,
  signal: AbortSignal | undefined,
  patienceMs: number,
): AsyncGenerator<StreamTaskLogsResponse, void, undefined> {
  const seen: Seen = { attempt: 0, end: 0n };
  const chunks = resumed({
    open: (signal) => {
      const request = create(StreamTaskLogsRequestSchema, { ...what, taskId });
      // The tail has moved on; what was seen is skipped by position instead.
      if (seen.attempt > 0) delete request.tailLines;
      return broker.streamTaskLogs(request, { signal });
    },
    signal,
    patienceMs,
  });
  for await (const chunk of chunks) {
    const news = unseen(seen, chunk);
    if (news) yield news;
  }
}

/** Cuts off what lies before `seen` and moves `seen` on; undefined when nothing is left. */
export function unseen(
  seen: Seen,
  chunk: StreamTaskLogsResponse,
): StreamTaskLogsResponse | undefined {
  const end = chunk.offset + BigInt(chunk.data.length);
  if (chunk.attempt < seen.attempt) return undefined;
  if (chunk.attempt === seen.attempt) {
    if (end <= seen.end) return undefined;
    if (chunk.offset < seen.end) {
      chunk.data = chunk.data.subarray(Number(seen.end - chunk.offset));
      chunk.offset = seen.end;
    }
  }
  seen.attempt = chunk.attempt;
  seen.end = end;
  return chunk;
}
