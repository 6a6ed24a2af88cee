// The messages and services of the protocol, as they are generated.
export * from "./generated/asyncflow/v1/attempt_service_pb.js";
export * from "./generated/asyncflow/v1/broker_service_pb.js";
export * from "./generated/asyncflow/v1/governor_service_pb.js";
export * from "./generated/asyncflow/v1/host_pb.js";
export * from "./generated/asyncflow/v1/host_service_pb.js";
export * from "./generated/asyncflow/v1/operation_service_pb.js";
export * from "./generated/asyncflow/v1/schedule_pb.js";
export * from "./generated/asyncflow/v1/schedule_service_pb.js";
export * from "./generated/asyncflow/v1/signal_pb.js";
export * from "./generated/asyncflow/v1/task_pb.js";
export * from "./generated/asyncflow/v1/worker_service_pb.js";
export * from "./generated/asyncflow/v1/workflow_pb.js";
