// What goes wrong between a client and a broker, in a form that programs and people can use.

import { fromBinary } from "@bufbuild/protobuf";
import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { anyUnpack, durationMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import type { TaskError } from "./generated/asyncflow/v1/task_pb.js";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  RetryInfoSchema,
} from "./generated/google/rpc/error_details_pb.js";
import { StatusSchema } from "./generated/google/rpc/status_pb.js";
import { brokeInTransit, rootCause } from "./transit.js";

/** A gRPC code by its name in the protocol. */
export type CodeName =
  | "CANCELLED"
  | "UNKNOWN"
  | "INVALID_ARGUMENT"
  | "DEADLINE_EXCEEDED"
  | "NOT_FOUND"
  | "ALREADY_EXISTS"
  | "PERMISSION_DENIED"
  | "RESOURCE_EXHAUSTED"
  | "FAILED_PRECONDITION"
  | "ABORTED"
  | "OUT_OF_RANGE"
  | "UNIMPLEMENTED"
  | "INTERNAL"
  | "UNAVAILABLE"
  | "DATA_LOSS"
  | "UNAUTHENTICATED";

const CODE_NAMES: Record<Code, CodeName> = {
  [Code.Canceled]: "CANCELLED",
  [Code.Unknown]: "UNKNOWN",
  [Code.InvalidArgument]: "INVALID_ARGUMENT",
  [Code.DeadlineExceeded]: "DEADLINE_EXCEEDED",
  [Code.NotFound]: "NOT_FOUND",
  [Code.AlreadyExists]: "ALREADY_EXISTS",
  [Code.PermissionDenied]: "PERMISSION_DENIED",
  [Code.ResourceExhausted]: "RESOURCE_EXHAUSTED",
  [Code.FailedPrecondition]: "FAILED_PRECONDITION",
  [Code.Aborted]: "ABORTED",
  [Code.OutOfRange]: "OUT_OF_RANGE",
  [Code.Unimplemented]: "UNIMPLEMENTED",
  [Code.Internal]: "INTERNAL",
  [Code.Unavailable]: "UNAVAILABLE",
  [Code.DataLoss]: "DATA_LOSS",
  [Code.Unauthenticated]: "UNAUTHENTICATED",
};

/** The options are unusable; nothing was sent. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
}

/** One field of a request that was refused. */
export interface Violation {
  /** Path of the field, e.g. `task.retry.max_retries`. */
  readonly field: string;
  /** What is wrong with it. */
  readonly description: string;
}

/** What an {@link AsyncflowError} is made of. */
export interface Refusal {
  code: CodeName;
  /** The broker's words, without code and details. */
  text: string;
  reason?: string;
  violations?: readonly Violation[];
  metadata?: Readonly<Record<string, string>>;
  retryAfterMs?: number | undefined;
  /** The broker has not spoken: it could not be reached, or the connection broke. */
  inTransit?: boolean;
  cause?: unknown;
}

/** A call that did not succeed: the broker refused it, or could not be reached. */
export class AsyncflowError extends Error {
  override readonly name: string = "AsyncflowError";
  /** The gRPC code. */
  readonly code: CodeName;
  /** The broker's words, without code, reason and violations. */
  readonly text: string;
  /** E.g. `LEASE_LOST`; each is explained in `docs/errors/`. Empty when none was given. */
  readonly reason: string;
  /** All that is wrong with the request. */
  readonly violations: readonly Violation[];
  /** What the broker says besides, by name. */
  readonly metadata: Readonly<Record<string, string>>;
  /** How long the broker asks to wait before the call is repeated. */
  readonly retryAfterMs: number | undefined;
  /** Whether repeating the same call may help: the broker said so, or could not be reached. */
  readonly retryable: boolean;
  /** The broker has not spoken: it could not be reached, or the connection broke. */
  readonly inTransit: boolean;

  constructor(refusal: Refusal) {
    super(told(refusal), refusal.cause === undefined ? {} : { cause: refusal.cause });
    this.code = refusal.code;
    this.text = refusal.text;
    this.reason = refusal.reason ?? "";
    this.violations = refusal.violations ?? [];
    this.metadata = refusal.metadata ?? {};
    this.retryAfterMs = refusal.retryAfterMs;
    this.retryable = refusal.code === "UNAVAILABLE" || refusal.retryAfterMs !== undefined;
    this.inTransit = refusal.inTransit ?? false;
  }

  /** What a call failed of; an error of ours is given back as it is. */
  static from(error: unknown, address = ""): AsyncflowError {
    if (error instanceof AsyncflowError) return error;
    return ofKind(refusalOf(ConnectError.from(error), address));
  }

  /** What a call about that task alone would have failed of. */
  static fromTaskError(error: TaskError): AsyncflowError {
    const details = read(inStatus(error.status));
    return ofKind({ code: codeName(error.code), text: error.message, ...details });
  }
}

/** The request is not valid; `violations` tells everything that is wrong with it. */
export class InvalidRequestError extends AsyncflowError {
  override readonly name = "InvalidRequestError";
}

/** There is no such task, type, workflow, … (any more). */
export class NotFoundError extends AsyncflowError {
  override readonly name = "NotFoundError";
}

/** Who calls is not known, or may not do that. */
export class AccessError extends AsyncflowError {
  override readonly name = "AccessError";
}

/** No broker could be reached, or it could not reach its database. */
export class UnavailableError extends AsyncflowError {
  override readonly name = "UnavailableError";
}

/** There was no answer within the deadline. */
export class DeadlineError extends AsyncflowError {
  override readonly name = "DeadlineError";
}

const LOST: Refusal = { code: "ABORTED", text: "the lease is lost", reason: "LEASE_LOST" };

/** Another attempt of the task is in force: nothing that this one does counts any more. */
export class LeaseLostError extends AsyncflowError {
  override readonly name = "LeaseLostError";

  constructor(refusal: Refusal = LOST) {
    super(refusal);
  }
}

/** Whether the error says that the attempt's lease is another one's by now. */
export function isLeaseLost(error: unknown): boolean {
  return error instanceof LeaseLostError;
}

const KINDS: Partial<Record<CodeName, new (refusal: Refusal) => AsyncflowError>> = {
  INVALID_ARGUMENT: InvalidRequestError,
  NOT_FOUND: NotFoundError,
  UNAUTHENTICATED: AccessError,
  PERMISSION_DENIED: AccessError,
  UNAVAILABLE: UnavailableError,
  DEADLINE_EXCEEDED: DeadlineError,
};

/** The error of the most telling class. */
export function ofKind(refusal: Refusal): AsyncflowError {
  if (refusal.reason === "LEASE_LOST" || refusal.reason === "NOT_YOUR_LEASE") {
    return new LeaseLostError(refusal);
  }
  return new (KINDS[refusal.code] ?? AsyncflowError)(refusal);
}

function refusalOf(error: ConnectError, address: string): Refusal {
  const cause = error.cause === undefined ? {} : { cause: error.cause };
  if (brokeInTransit(error)) {
    const cannot = `cannot reach the broker at ${address}: ${rootCause(error)}`;
    const text = `${cannot}\n  ${advice(error, address)}`;
    return { code: "UNAVAILABLE", text, inTransit: true, ...cause };
  }
  const code = codeName(error.code);
  // What a server made of tonic says of a deadline that it was told.
  const isLate = code === "CANCELLED" && error.rawMessage === "Timeout expired";
  const text = code === "UNAUTHENTICATED"
    ? `${error.rawMessage}\n  set ASYNCFLOW_TOKEN or ASYNCFLOW_TOKEN_FILE, or give \`token\``
    : error.rawMessage;
  const details = read((schema) => error.findDetails(schema));
  return { code: isLate ? "DEADLINE_EXCEEDED" : code, text, ...details, ...cause };
}

function advice(error: ConnectError, address: string): string {
  const cause = rootCause(error);
  if (/certificate|self.signed|altname/i.test(cause)) {
    return "is `caFile` (ASYNCFLOW_CA_FILE) the authority that signed its certificate, and does " +
      "the certificate name this address?";
  }
  if (address.startsWith("http://") && /protocol error|HPE_|bad client/i.test(cause)) {
    return "does it want https://?";
  }
  return "is it running? `asyncflow dev` starts one; another address is given by `address` or " +
    "ASYNCFLOW_BROKER";
}

type Details = Pick<Refusal, "reason" | "violations" | "metadata" | "retryAfterMs">;
type Find = <D extends DescMessage>(schema: D) => MessageShape<D>[];

function read(find: Find): Details {
  const found: Details = {};
  for (const { reason, metadata } of find(ErrorInfoSchema)) {
    found.reason = reason;
    found.metadata = { ...metadata };
  }
  for (const { fieldViolations } of find(BadRequestSchema)) {
    found.violations = fieldViolations.map(({ field, description }) => ({ field, description }));
  }
  for (const { retryDelay } of find(RetryInfoSchema)) {
    found.retryAfterMs = retryDelay ? durationMs(retryDelay) : 0;
  }
  return found;
}

/** Details that cannot be parsed tell nothing; code and message are still there. */
function inStatus(status: Uint8Array): Find {
  return (schema) => {
    try {
      const { details } = fromBinary(StatusSchema, status);
      return details.flatMap((detail) => anyUnpack(detail, schema) ?? []);
    } catch {
      return [];
    }
  };
}

function codeName(code: number): CodeName {
  return (CODE_NAMES as Record<number, CodeName | undefined>)[code] ?? "UNKNOWN";
}

function told(refusal: Refusal): string {
  const reason = refusal.reason ? ` (${refusal.reason})` : "";
  const violations = refusal.violations ?? [];
  const lines = violations.map(({ field, description }) => `\n  ${field}: ${description}`);
  return `${refusal.text || refusal.code}${reason}${lines.join("")}`;
}
