// What an attempt writes, on its way to the broker: batched, in order, with back-pressure.

import { timestampNow } from "@bufbuild/protobuf/wkt";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { AsyncflowError, isLeaseLost } from "../error.js";
import { LogStream } from "../generated/asyncflow/v1/broker_service_pb.js";
import type { Lease } from "../generated/asyncflow/v1/worker_service_pb.js";
import { sleep } from "../pause.js";
import type { Link } from "./link.js";
import type { Logger } from "./options.js";

/** Largest piece. */
const CHUNK_BYTES_MAX = 64 * 1024;
// A call holds at most 1 MiB; some room is left for the frame around it.
const CALL_BYTES_MAX = 768 * 1024;
const QUEUE_BYTES_MAX = 2 * 1024 * 1024;
const BATCH_WINDOW_MS = 100;
const CALL_TIMEOUT_MS = 10_000;

interface Piece {
  /** What was written one after the other. */
  parts: Uint8Array[];
  bytes: number;
  offset: bigint;
  /** When its first part was written. */
  time: Timestamp;
}

/** The log of one attempt. */
export class LogShipper {
  #queue: Piece[] = [];
  #queued = 0;
  #offset = 0n;
  #shipping: Promise<void> | undefined;
  #refused = false;
  readonly #hurry = new AbortController();

  constructor(
    private readonly link: Link,
    private readonly lease: Lease,
    private readonly trace: string,
    private readonly lost: AbortSignal,
    private readonly logger: Logger,
  ) {}

  /** Queues it; resolves at once, or when a full queue has gone. Never rejects. */
  async write(text: string): Promise<void> {
    if (this.#refused || this.lost.aborted) return;
    const data = new TextEncoder().encode(text);
    for (let start = 0; start < data.length; start += CHUNK_BYTES_MAX) {
      this.#put(data.subarray(start, start + CHUNK_BYTES_MAX));
    }
    this.#shipping ??= this.#ship();
    if (this.#queued > QUEUE_BYTES_MAX) await this.#shipping;
  }

  /** Resolves when all is sent, or given up. */
  async flush(): Promise<void> {
    this.#hurry.abort();
    await this.#shipping;
  }

  /** A call holds a limited number of pieces, so short lines go together. */
  #put(part: Uint8Array): void {
    const last = this.#queue.at(-1);
    if (last && last.bytes + part.length <= CHUNK_BYTES_MAX) {
      last.parts.push(part);
      last.bytes += part.length;
    } else {
      const piece = { parts: [part], bytes: part.length, offset: this.#offset };
      this.#queue.push({ ...piece, time: timestampNow() });
    }
    this.#offset += BigInt(part.length);
    this.#queued += part.length;
  }

  async #ship(): Promise<void> {
    await sleep(BATCH_WINDOW_MS, this.#hurry.signal);
    while (this.#queue.length > 0 && !this.#refused) await this.#push(this.#taken());
    this.#shipping = undefined;
  }

  #taken(): Piece[] {
    const taken: Piece[] = [];
    let weight = 0;
    for (const piece of this.#queue) {
      weight += piece.bytes;
      if (taken.length > 0 && weight > CALL_BYTES_MAX) break;
      taken.push(piece);
    }
    this.#queue = this.#queue.slice(taken.length);
    return taken;
  }

  async #push(taken: Piece[]): Promise<void> {
    const { lease } = this;
    const chunks = taken.map(({ parts, offset, time }) => (
      { data: Buffer.concat(parts), offset, time, lease, stream: LogStream.STDOUT }
    ));
    try {
      await this.link.untilAnswered(
        (stubs, sessionId, options) => stubs.pushTaskLogs({ sessionId, chunks }, options),
        { timeoutMs: CALL_TIMEOUT_MS, signal: this.lost, trace: this.trace },
      );
    } catch (error) {
      // Refused for good, or the lease is lost: nobody will read the rest.
      this.#refused = true;
      this.#queue = [];
      this.#complain(AsyncflowError.from(error));
    }
    this.#queued = this.#queue.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  #complain(failed: AsyncflowError): void {
    if (this.lost.aborted || isLeaseLost(failed)) return;
    const which = `${this.lease.taskId}, attempt ${this.lease.attempt}`;
    this.logger.error(`${which}: the log from here on is lost: ${failed.message}`);
  }
}
