// One HTTP/2 connection to a broker, made anew when it is stuck, and never again once it is closed.

import type { ClientHttp2Stream } from "node:http2";
import { Code, ConnectError } from "@connectrpc/connect";
import type { Http2SessionManager } from "@connectrpc/connect-node";
import { ClosedError } from "./transit.js";

type Manager = Pick<Http2SessionManager, "authority" | "notifyResponseByteRead" | "request">;

/**
 * A manager of connect's, and a new one in its place when it gives no stream in time: a connection
 * that ends while an idle one is being verified keeps connect's waiting for ever.
 */
export class Connection implements Manager {
  readonly #make: () => Http2SessionManager;
  readonly #patienceMs: number;
  #manager: Http2SessionManager;
  #closed: ClosedError | undefined;
  readonly #waiting = new Set<(error: Error) => void>();

  /** `patienceMs` is longer than a ping and a connect may take. */
  constructor(make: () => Http2SessionManager, patienceMs: number) {
    this.#make = make;
    this.#patienceMs = patienceMs;
    this.#manager = make();
  }

  get authority(): string {
    return this.#manager.authority;
  }

  /** Why there is no connection any more, once it is closed. */
  get closed(): ClosedError | undefined {
    return this.#closed;
  }

  /** Opens a stream; UNAVAILABLE when there is none in time. */
  async request(...request: Parameters<Manager["request"]>): Promise<ClientHttp2Stream> {
    if (this.#closed) throw closing(this.#closed);
    const manager = this.#manager;
    const opening = manager.request(...request);
    return new Promise((resolve, reject) => {
      let isOver = false;
      const over = (): void => {
        isOver = true;
        clearTimeout(timer);
        this.#waiting.delete(fail);
      };
      const fail = (error: Error): void => {
        over();
        reject(error);
      };
      const timer = setTimeout(() => {
        fail(new ConnectError("the connection gives no stream", Code.Unavailable));
        this.#replace(manager);
      }, this.#patienceMs);
      this.#waiting.add(fail);
      opening.then((stream) => {
        // Nobody reads one that comes too late.
        if (isOver) stream.destroy();
        over();
        resolve(stream);
      }, fail);
    });
  }

  notifyResponseByteRead(stream: ClientHttp2Stream): void {
    this.#manager.notifyResponseByteRead(stream);
  }

  /** Ends all calls; there are none after it. */
  close(): void {
    if (this.#closed) return;
    this.#closed = new ClosedError();
    for (const fail of this.#waiting) fail(closing(this.#closed));
    this.#manager.abort();
  }

  #replace(stuck: Http2SessionManager): void {
    if (this.#manager !== stuck || this.#closed) return;
    this.#manager = this.#make();
    stuck.abort(new ConnectError("the connection was stuck", Code.Unavailable));
  }
}

/** In connect's terms. */
function closing(closed: ClosedError): ConnectError {
  return new ConnectError(closed.message, Code.Canceled, undefined, undefined, closed);
}
