// Following the state of tasks over breaks of the connection.

import { create } from "@bufbuild/protobuf";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { WatchTasksRequestSchema } from "../generated/asyncflow/v1/broker_service_pb.js";
import type {
  BrokerService,
  WatchTasksResponse,
} from "../generated/asyncflow/v1/broker_service_pb.js";
import type { Stubs } from "../stubs.js";
import { resumed } from "./resume.js";

/** Which tasks to watch: ids, or a filter. */
export type WatchRequest = MessageInitShape<typeof WatchTasksRequestSchema>;

/** The states as they are, then every change; after a break from the last resume token. */
export async function* watchTasks(
  broker: Stubs<typeof BrokerService>,
  what: WatchRequest,
  signal: AbortSignal | undefined,
  patienceMs: number,
): AsyncGenerator<WatchTasksResponse, void, undefined> {
  const request = create(WatchTasksRequestSchema, { ...what });
  const answers = resumed({
    open: (signal) => broker.watchTasks(request, { signal }),
    signal,
    patienceMs,
  });
  for await (const answer of answers) {
    if (answer.resumeToken) request.resumeToken = answer.resumeToken;
    // Keep-alives say nothing else.
    if (answer.task || answer.deletedTaskId) yield answer;
  }
}
