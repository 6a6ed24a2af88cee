// Progress: the latest word of each attempt, sent at most once per interval for all together.

import { AsyncflowError } from "../error.js";
import type { Lease } from "../generated/asyncflow/v1/worker_service_pb.js";
import { sleep } from "../pause.js";
import { key } from "./held.js";
import type { Held } from "./held.js";
import { isWorthRepeating } from "./link.js";
import type { Link } from "./link.js";
import type { Logger } from "./options.js";
import { cut } from "./outcome.js";

const REPORTS_MAX = 1_000;
const METRICS_MAX = 32;
const METRIC_NAME_BYTES_MAX = 64;
const CALL_TIMEOUT_MS = 5_000;

/** What an attempt says of itself; what is left out stays as it was said before. */
export interface ProgressNews {
  /** 0 to 100. */
  percent?: number;
  /** At most 1,024 bytes; more is cut. */
  message?: string;
  /** The latest value of each named metric, at most 32. */
  metrics?: Readonly<Record<string, number>>;
}

interface Pending {
  lease: Lease;
  news: ProgressNews;
}

/** What is to be sent. */
export class ProgressBoard {
  readonly #pending = new Map<string, Pending>();
  #underWay: { keys: Set<string>; landed: Promise<void> } | undefined;
  #wake: () => void = () => undefined;

  constructor(
    private readonly link: Link,
    private readonly held: Held,
    private readonly logger: Logger,
  ) {}

  /** Puts news over what is still to be sent. What a broker would refuse is left out. */
  put(lease: Lease, news: ProgressNews): void {
    const older = this.#pending.get(key(lease))?.news ?? {};
    this.#pending.set(key(lease), { lease, news: merged(older, clean(news)) });
    this.#wake();
  }

  /** Sends on until the signal is aborted. Between two calls lies at least the interval. */
  async run(intervalMs: number, signal: AbortSignal): Promise<void> {
    signal.addEventListener("abort", () => { this.#wake(); }, { once: true });
    while (!signal.aborted) {
      if (this.#pending.size === 0) {
        await new Promise<void>((resolve) => { this.#wake = resolve; });
        continue;
      }
      const taken = [...this.#pending].slice(0, REPORTS_MAX);
      for (const [name] of taken) this.#pending.delete(name);
      const landed = this.#send(taken.map(([, one]) => one), signal).catch(() => {
        this.#putBack(taken);
      });
      this.#underWay = { keys: new Set(taken.map(([name]) => name)), landed };
      await landed;
      this.#underWay = undefined;
      await sleep(intervalMs, signal);
    }
  }

  /** Sends what one attempt said last, once, before it is settled. */
  async flush(lease: Lease, trace: string): Promise<void> {
    // Words that are under way would come after its end.
    if (this.#underWay?.keys.has(key(lease))) await this.#underWay.landed;
    const last = this.#pending.get(key(lease));
    this.#pending.delete(key(lease));
    if (last) await this.#send([last], AbortSignal.timeout(CALL_TIMEOUT_MS), trace).catch(() => 0);
  }

  async #send(taken: Pending[], signal: AbortSignal, trace?: string): Promise<void> {
    const reports = taken.map(({ lease, news }) => ({ lease, progress: news }));
    try {
      const answer = await this.link.call(
        (stubs, sessionId, options) => stubs.reportProgress({ sessionId, reports }, options),
        { timeoutMs: CALL_TIMEOUT_MS, signal, trace },
      );
      this.held.follow(answer.leases);
    } catch (error) {
      const failed = AsyncflowError.from(error);
      if (isWorthRepeating(failed)) throw failed;
      this.logger.warn(`progress refused: ${failed.message}`);
    }
  }

  #putBack(taken: [string, Pending][]): void {
    for (const [name, { lease, news }] of taken) {
      const newer = this.#pending.get(name)?.news ?? {};
      this.#pending.set(name, { lease, news: merged(news, newer) });
    }
  }
}

/** The newer one counts; metrics are kept by name, the first 32 names. */
export function merged(older: ProgressNews, newer: ProgressNews): ProgressNews {
  const metrics = Object.entries({ ...older.metrics, ...newer.metrics }).slice(0, METRICS_MAX);
  return { ...older, ...newer, metrics: Object.fromEntries(metrics) };
}

/**
 * What is left is fit for the broker, which refuses a call as a whole: nonsense of one attempt must
 * not cost the others their progress.
 */
export function clean(news: ProgressNews): ProgressNews {
  const fit: ProgressNews = {};
  const { percent, message, metrics } = news;
  if (percent !== undefined && percent >= 0 && percent <= 100) fit.percent = percent;
  if (message) fit.message = cut(message.replace(/(?![\n\r\t])\p{Cc}/gu, " "));
  if (metrics) fit.metrics = Object.fromEntries(Object.entries(metrics).filter(isMetric));
  return fit;
}

function isMetric([name, value]: [string, number]): boolean {
  const isName = name.trim() !== "" && !/\p{Cc}/u.test(name) &&
    Buffer.byteLength(name) <= METRIC_NAME_BYTES_MAX;
  return isName && Number.isFinite(value);
}
