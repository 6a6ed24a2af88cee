// What an attempt writes, on its way to the broker: batched, in order, with back-pressure.

import { timestampNow } from "@bufbuild/protobuf/wkt";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { LogStream } from "../generated/asyncflow/v1/broker_service_pb.js";
import type { Lease } from "../generated/asyncflow/v1/worker_service_pb.js";
import { sleep } from "../pause.js";
import type { Link } from "./link.js";

/** Largest piece. */
const CHUNK_BYTES_MAX = 64 * 1024;
// A call holds at most 1 MiB; some room is left for the frame around it.
const CALL_BYTES_MAX = 768 * 1024;
const QUEUE_BYTES_MAX = 2 * 1024 * 1024;
const BATCH_WINDOW_MS = 100;
const CALL_TIMEOUT_MS = 10_000;

interface Piece {
  data: Uint8Array;
  offset: bigint;
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
  ) {}

  /** Queues it; resolves at once, or when a full queue has gone. Never rejects. */
  async write(text: string): Promise<void> {
    if (this.#refused || this.lost.aborted) return;
    const data = new TextEncoder().encode(text);
    for (let start = 0; start < data.length; start += CHUNK_BYTES_MAX) {
      const part = data.subarray(start, start + CHUNK_BYTES_MAX);
      this.#queue.push({ data: part, offset: this.#offset, time: timestampNow() });
      this.#offset += BigInt(part.length);
      this.#queued += part.length;
    }
    this.#shipping ??= this.#ship();
    if (this.#queued > QUEUE_BYTES_MAX) await this.#shipping;
  }

  /** Resolves when all is sent, or given up. */
  async flush(): Promise<void> {
    this.#hurry.abort();
    await this.#shipping;
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
      weight += piece.data.length;
      if (taken.length > 0 && weight > CALL_BYTES_MAX) break;
      taken.push(piece);
    }
    this.#queue = this.#queue.slice(taken.length);
    return taken;
  }

  async #push(taken: Piece[]): Promise<void> {
    const { lease } = this;
    const chunks = taken.map((piece) => ({ ...piece, lease, stream: LogStream.STDOUT }));
    try {
      await this.link.untilAnswered(
        (stubs, sessionId, options) => stubs.pushTaskLogs({ sessionId, chunks }, options),
        { timeoutMs: CALL_TIMEOUT_MS, signal: this.lost, trace: this.trace },
      );
    } catch {
      // Refused for good, or the lease is lost: nobody will read the rest.
      this.#refused = true;
      this.#queue = [];
    }
    this.#queued = this.#queue.reduce((sum, { data }) => sum + data.length, 0);
  }
}
