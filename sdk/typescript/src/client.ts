// A client for owners of tasks: thin, typed methods over BrokerService.

import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { collected, paged } from "./client/paging.js";
import { createStream } from "./client/bulk.js";
import type { Created, CreateRequest } from "./client/bulk.js";
import { streamLogs } from "./client/logs.js";
import type { LogRequest } from "./client/logs.js";
import { watchTasks } from "./client/watch.js";
import type { WatchRequest } from "./client/watch.js";
import { parseJson } from "./content.js";
import { AsyncflowError } from "./error.js";
import { BrokerService, TaskView } from "./generated/asyncflow/v1/broker_service_pb.js";
import type {
  StreamTaskLogsResponse,
  UpdateTaskTypeRequestSchema,
  WatchTasksResponse,
} from "./generated/asyncflow/v1/broker_service_pb.js";
import { HostService } from "./generated/asyncflow/v1/host_service_pb.js";
import { OperationService } from "./generated/asyncflow/v1/operation_service_pb.js";
import { ScheduleService } from "./generated/asyncflow/v1/schedule_service_pb.js";
import { TaskState } from "./generated/asyncflow/v1/task_pb.js";
import type {
  Attempt,
  Task,
  TaskSpecSchema,
  TaskType,
  TaskTypeSchema,
} from "./generated/asyncflow/v1/task_pb.js";
import { sleep } from "./pause.js";
import { resolveSettings } from "./settings.js";
import type { ConnectionOptions } from "./settings.js";
import { openStubs } from "./stubs.js";
import type { CallOptions, Stubs } from "./stubs.js";
import { openTransport } from "./transport.js";
import type { OpenTransport } from "./transport.js";

/** What a task is made of. */
export type TaskInit = MessageInitShape<typeof TaskSpecSchema>;
/** What a task type is made of. */
export type TaskTypeInit = MessageInitShape<typeof TaskTypeSchema>;

/** How a {@link Client} behaves. */
export interface ClientOptions extends ConnectionOptions {
  /** Deadline of a call, its repetitions included. Default 30 s. */
  timeoutMs?: number;
}

/** How a task is created. */
export interface CreateOptions extends CallOptions {
  /** 1 to 128 printable characters: the same id gives the same task. Default: a random one. */
  requestId?: string;
  /** Only check: the answer holds the task that would be made, without id. */
  validateOnly?: boolean;
}

/** How long to wait for the end of a task. */
export interface WaitOptions extends CallOptions {
  /**
   * After this time the task is given as it is, whatever its state. Default: as long as it takes.
   * `timeoutMs` in its place ends the waiting with a DeadlineError.
   */
  forMs?: number;
}

/** A task that ended without a result was asked for it. */
export class TaskFailedError extends Error {
  override readonly name = "TaskFailedError";

  /** `task` is as it is now; see its `failure`. */
  constructor(readonly task: Task) {
    const why = task.failure?.message ?? "";
    super(`task ${task.id} ended as ${TaskState[task.state]}${why && `: ${why}`}`);
  }
}

const CALL_TIMEOUT_MS = 30_000;
// One round of waiting at the broker.
const WAIT_ROUND_MS = 30_000;
const WAIT_SLACK_MS = 15_000;
// A broker that shuts down answers at once; it must not be asked in a circle.
const WAIT_ROUND_MS_MIN = 200;

/**
 * A connection to a broker. It is made at the first call, and again after a break; an idle one
 * does not keep the process alive.
 *
 * Calls that fail because the broker is away or busy are repeated until their deadline; creates
 * always carry a request id, so repeating them is safe. All errors of calls are
 * {@link AsyncflowError}s.
 */
export class Client implements Disposable {
  /** The stubs of BrokerService, with the same repetitions and errors. */
  readonly broker: Stubs<typeof BrokerService>;
  /** Of OperationService: one verb for all tasks that match a filter. */
  readonly operations: Stubs<typeof OperationService>;
  /** Of ScheduleService. */
  readonly schedules: Stubs<typeof ScheduleService>;
  /** Of HostService: hosts, GPUs, and why a task waits. */
  readonly hosts: Stubs<typeof HostService>;

  readonly #open: OpenTransport;
  readonly #timeoutMs: number;

  /**
   * Nothing is sent yet.
   *
   * @throws ConfigError for a bad address or token, or a file that cannot be read.
   */
  constructor(options: ClientOptions = {}) {
    this.#open = openTransport(resolveSettings(options));
    this.#timeoutMs = options.timeoutMs ?? CALL_TIMEOUT_MS;
    this.broker = openStubs(BrokerService, this.#open, this.#timeoutMs);
    this.operations = openStubs(OperationService, this.#open, this.#timeoutMs);
    this.schedules = openStubs(ScheduleService, this.#open, this.#timeoutMs);
    this.hosts = openStubs(HostService, this.#open, this.#timeoutMs);
  }

  /** Ends the connection and all calls on it. */
  close(): void {
    this.#open.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Creates a task. */
  async create(task: TaskInit, options: CreateOptions = {}): Promise<Task> {
    const { requestId, validateOnly = false, ...call } = options;
    const request = { task, validateOnly, ...(requestId === undefined ? {} : { requestId }) };
    return held((await this.broker.createTask(request, call)).task);
  }

  /** Creates up to 1,000 tasks in one go. One bad task fails all, before anything is written. */
  async createBatch(tasks: readonly TaskInit[], options: CallOptions = {}): Promise<Task[]> {
    const requests = tasks.map((task) => ({ task }));
    const { responses } = await this.broker.batchCreateTasks({ requests }, options);
    return responses.map(({ task }) => held(task));
  }

  /**
   * Creates tasks as `requests` yields them, no faster than the broker writes; one result for
   * each, in their order, when it is on disk. A task that cannot be created harms no other.
   *
   * Nothing is repeated inside. When the stream breaks, send again what has no result yet, with
   * the same request ids.
   */
  createStream(
    requests: Iterable<CreateRequest> | AsyncIterable<CreateRequest>,
    options: Pick<CallOptions, "signal"> = {},
  ): AsyncGenerator<Created, void, undefined> {
    return createStream(this.broker, requests, options.signal);
  }

  /** Gets a task, with everything unless the view is BASIC. */
  async get(taskId: string, options: CallOptions & { view?: TaskView } = {}): Promise<Task> {
    const { view, ...call } = options;
    const request = { taskId, ...(view === undefined ? {} : { view }) };
    return held((await this.broker.getTask(request, call)).task);
  }

  /**
   * Tasks that match a filter, e.g. `task_type = train AND state = RUNNING`, newest first, page by
   * page as they are asked for.
   */
  list(
    filter = "",
    options: CallOptions & { pageSize?: number; view?: TaskView } = {},
  ): AsyncGenerator<Task, void, undefined> {
    const { pageSize = 0, view = TaskView.UNSPECIFIED, ...call } = options;
    return paged(
      (pageToken) => this.broker.listTasks({ filter, pageSize, pageToken, view }, call),
      (page) => page.tasks,
    );
  }

  /** Counts tasks without scanning them; empty = of all types, users and states. */
  async count(
    of: { taskType?: string; user?: string; states?: TaskState[] } = {},
    options: CallOptions = {},
  ): Promise<number> {
    return Number((await this.broker.countTasks(of, options)).total);
  }

  /** Cancels a task. A running one is CANCELLING until its worker has stopped it. */
  async cancel(taskId: string, options: CallOptions & { reason?: string } = {}): Promise<Task> {
    const { reason = "", ...call } = options;
    return held((await this.broker.cancelTask({ taskId, reason }, call)).task);
  }

  /**
   * Opens a new run of a task that has ended; it goes on behind its saved stage unless `fromStart`.
   * Not repeated when it is not known whether the broker has done it.
   */
  async retry(taskId: string, options: CallOptions & { fromStart?: boolean } = {}): Promise<Task> {
    const { fromStart = false, ...call } = options;
    return held((await this.broker.retryTask({ taskId, fromStart }, call)).task);
  }

  /** Takes a waiting task out of the queue. */
  async pause(taskId: string, options: CallOptions = {}): Promise<Task> {
    return held((await this.broker.pauseTask({ taskId }, options)).task);
  }

  /** Puts a paused task back. */
  async resume(taskId: string, options: CallOptions = {}): Promise<Task> {
    return held((await this.broker.resumeTask({ taskId }, options)).task);
  }

  /** Deletes a task with its history and logs. */
  async delete(taskId: string, options: CallOptions = {}): Promise<void> {
    await this.broker.deleteTask({ taskId }, options);
  }

  /** Waits until the task has ended, or `forMs` are over, and gives it as it is then. */
  async wait(taskId: string, options: WaitOptions = {}): Promise<Task> {
    const { forMs = Infinity, timeoutMs = Infinity, signal } = options;
    const call = signal ? { signal } : {};
    const begin = performance.now();
    const [end, deadline] = [begin + forMs, begin + timeoutMs];
    for (;;) {
      const began = performance.now();
      const left = Math.max(0, end - began);
      const round = Math.min(left, WAIT_ROUND_MS);
      const patience = Math.max(1, Math.min(round + WAIT_SLACK_MS, deadline - began));
      const request = { taskId, timeout: durationFromMs(Math.ceil(round)) };
      const answer = await this.broker.waitTask(request, { ...call, timeoutMs: patience });
      if (answer.done || end <= performance.now()) return held(answer.task);
      await sleep(Math.min(began + WAIT_ROUND_MS_MIN, end, deadline) - performance.now(), signal);
    }
  }

  /**
   * Waits until the task has ended and gives what its result says as JSON; undefined if it has
   * none. The type is the caller's word.
   *
   * @throws TaskFailedError when it did not succeed.
   */
  async result<T = unknown>(taskId: string, options: CallOptions = {}): Promise<T | undefined> {
    const task = await this.wait(taskId, options);
    if (task.state !== TaskState.SUCCEEDED) throw new TaskFailedError(task);
    return parseJson<T>(task.result);
  }

  /**
   * Follows tasks, by `taskIds` or `filter`: as they are, then every change. After a break it goes
   * on where it was; it ends when all `taskIds` have (`untilDone`), with the signal, or with an
   * error that repeating has not helped for `timeoutMs` (default: the client's).
   */
  watch(what: WatchRequest, options: CallOptions = {}):
  AsyncGenerator<WatchTasksResponse, void, undefined> {
    const patienceMs = options.timeoutMs ?? this.#timeoutMs;
    return watchTasks(this.broker, what, options.signal, patienceMs);
  }

  /** What a task wrote, piece by piece; with `follow` until it has ended. */
  logs(taskId: string, options: CallOptions & LogRequest = {}):
  AsyncGenerator<StreamTaskLogsResponse, void, undefined> {
    const { signal, timeoutMs = this.#timeoutMs, ...what } = options;
    return streamLogs(this.broker, taskId, what, signal, timeoutMs);
  }

  /** All attempts of a task, oldest first. */
  attempts(taskId: string, options: CallOptions = {}): Promise<Attempt[]> {
    return collected(paged(
      (pageToken) => this.broker.listAttempts({ taskId, pageToken }, options),
      (page) => page.attempts,
    ));
  }

  /** Registers a task type. */
  async createTaskType(taskType: TaskTypeInit, options: CallOptions = {}): Promise<TaskType> {
    return held((await this.broker.createTaskType({ taskType }, options)).taskType);
  }

  /** Gets a task type. */
  async getTaskType(name: string, options: CallOptions = {}): Promise<TaskType> {
    return held((await this.broker.getTaskType({ name }, options)).taskType);
  }

  /** All task types by name. */
  listTaskTypes(options: CallOptions = {}): AsyncGenerator<TaskType, void, undefined> {
    return paged(
      (pageToken) => this.broker.listTaskTypes({ pageToken }, options),
      (page) => page.taskTypes,
    );
  }

  /** Changes the fields of a task type that `updateMask` names, e.g. `["retry.max_retries"]`. */
  async updateTaskType(
    request: MessageInitShape<typeof UpdateTaskTypeRequestSchema>,
    options: CallOptions = {},
  ): Promise<TaskType> {
    return held((await this.broker.updateTaskType(request, options)).taskType);
  }
}

/** Every answer holds what it is about; a broker that leaves it out is broken. */
function held<T>(value: T | undefined): T {
  if (value === undefined) {
    throw new AsyncflowError({ code: "DATA_LOSS", text: "the broker's answer is empty" });
  }
  return value;
}
