// A watch that collects in the background.

import { AsyncflowError, TaskState } from "../src/index.js";
import type { Client, WatchRequest } from "../src/index.js";
import { StepError } from "./judge.js";

/** The states that came so far. */
export class Watching {
  readonly states: string[] = [];
  readonly #end = new AbortController();
  readonly #reading: Promise<void>;
  #failed: AsyncflowError | undefined;
  #wake: () => void = () => undefined;

  constructor(client: Client, what: WatchRequest) {
    this.#reading = this.#read(client, what);
  }

  /** Resolves when the last state is this one. */
  async until(state: string, timeoutMs: number): Promise<void> {
    const end = performance.now() + timeoutMs;
    while (this.states.at(-1) !== state) {
      if (this.#failed !== undefined) throw this.#failed;
      const left = end - performance.now();
      const so = this.states.join(", ") || "none";
      if (left <= 0) throw new StepError(`no ${state} within ${timeoutMs} ms; states: ${so}`);
      await this.#news(left);
    }
  }

  /** Ends it. */
  async stop(): Promise<void> {
    this.#end.abort();
    await this.#reading;
  }

  async #news(ms: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  async #read(client: Client, what: WatchRequest): Promise<void> {
    try {
      for await (const { task } of client.watch(what, { signal: this.#end.signal })) {
        const state = task && `TASK_STATE_${TaskState[task.state]}`;
        if (state && state !== this.states.at(-1)) this.states.push(state);
        this.#wake();
      }
    } catch (error) {
      if (!this.#end.signal.aborted) this.#failed = AsyncflowError.from(error);
      this.#wake();
    }
  }
}
