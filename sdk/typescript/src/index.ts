// asyncflow for TypeScript and JavaScript: a client for owners of tasks, and a worker that runs
// them. All messages of the protocol are in `asyncflow-sdk/v1`.

export { durationFromMs, timestampDate, timestampFromDate } from "@bufbuild/protobuf/wkt";
export { Client, TaskFailedError } from "./client.js";
export type {
  ClientOptions,
  CreateOptions,
  TaskInit,
  TaskTypeInit,
  WaitOptions,
} from "./client.js";
export type { Created, CreateRequest } from "./client/bulk.js";
export type { LogRequest } from "./client/logs.js";
export type { WatchRequest } from "./client/watch.js";
export { bytes, json, parseJson } from "./content.js";
export {
  AccessError,
  AsyncflowError,
  ConfigError,
  DeadlineError,
  InvalidRequestError,
  LeaseLostError,
  NotFoundError,
  UnavailableError,
} from "./error.js";
export type { CodeName, Violation } from "./error.js";
export { AttemptOutcome, FailureReason, TaskState } from "./generated/asyncflow/v1/task_pb.js";
export type { Attempt as AttemptRecord, Content, Task } from "./generated/asyncflow/v1/task_pb.js";
export { TaskView } from "./generated/asyncflow/v1/broker_service_pb.js";
export type { ConnectionOptions } from "./settings.js";
export { isTerminal } from "./state.js";
export type { CallOptions } from "./stubs.js";
export { Worker } from "./worker.js";
export type { Attempt, Save } from "./worker/attempt.js";
export type { Handler, Logger, WorkerOptions } from "./worker/options.js";
export { Fail, Retry } from "./worker/outcome.js";
export type { ProgressNews } from "./worker/progress.js";
export { StopError } from "./worker/stop.js";
export type { StopReason } from "./worker/stop.js";
