// States of tasks.

import { TaskState } from "./generated/asyncflow/v1/task_pb.js";

/** Whether nothing follows this state but a retry. */
export function isTerminal(state: TaskState): boolean {
  return state === TaskState.SUCCEEDED || state === TaskState.FAILED ||
    state === TaskState.CANCELLED;
}
