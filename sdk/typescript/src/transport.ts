// A gRPC transport to one broker: keep-alive, TLS, bearer token, and a bound for connecting.

import * as net from "node:net";
import * as tls from "node:tls";
import type { Interceptor, Transport } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { Connection } from "./connection.js";
import type { Settings } from "./settings.js";
import { TRACE_HEADER, traceparent } from "./trace.js";
import type { ClosedError } from "./transit.js";

// A half-open connection is noticed after interval + timeout.
const PING_INTERVAL_MS = 10_000;
const PING_TIMEOUT_MS = 5_000;
const CONNECT_TIMEOUT_MS = 3_000;
// A connection that was idle may be pinged and then made anew before it gives a stream.
const STREAM_TIMEOUT_MS = PING_TIMEOUT_MS + CONNECT_TIMEOUT_MS + 500;
/** The largest answer that is accepted: a page of full tasks. */
const MESSAGE_BYTES_MAX = 64 * 1024 * 1024;

/** A transport and its end. */
export interface OpenTransport {
  transport: Transport;
  address: string;
  /** Ends the connection and all calls on it, for good. */
  close(): void;
  /** What its calls fail of, once it is closed. */
  readonly closed: ClosedError | undefined;
}

/** Makes the transport; it connects at the first call, and again after a break. */
export function openTransport(settings: Settings): OpenTransport {
  const connection = new Connection(() => new Http2SessionManager(
    settings.address,
    {
      pingIntervalMs: PING_INTERVAL_MS,
      pingTimeoutMs: PING_TIMEOUT_MS,
    },
    { createConnection: (authority) => connect(authority, settings.ca) },
  ), STREAM_TIMEOUT_MS);
  const transport = createGrpcTransport({
    baseUrl: settings.address,
    sessionManager: connection,
    interceptors: [headers(settings.token)],
    readMaxBytes: MESSAGE_BYTES_MAX,
  });
  return {
    transport,
    address: settings.address,
    close: () => { connection.close(); },
    get closed() { return connection.closed; },
  };
}

/** Puts `authorization` and, unless the caller set one, `traceparent` on each call. */
function headers(token: string | undefined): Interceptor {
  return (next) => (request) => {
    if (token !== undefined) request.header.set("authorization", `Bearer ${token}`);
    if (!request.header.has(TRACE_HEADER)) request.header.set(TRACE_HEADER, traceparent());
    return next(request);
  };
}

/** The system alone would try for minutes to reach a host that does not answer. */
function connect(authority: URL, ca: string | undefined): net.Socket {
  const isTls = authority.protocol === "https:";
  // An IPv6 address stands in brackets in a URL, and nowhere else.
  const host = authority.hostname.replace(/^\[|\]$/g, "");
  const port = Number(authority.port || (isTls ? 443 : 80));
  const ready = isTls ? "secureConnect" : "connect";
  const socket = isTls
    ? tls.connect({
      host,
      port,
      ALPNProtocols: ["h2"],
      ...(net.isIP(host) ? {} : { servername: host }),
      ...(ca === undefined ? {} : { ca }),
    })
    : net.connect({ host, port });
  socket.setNoDelay(true);
  const timer = setTimeout(() => {
    const error = new Error(`no connection to ${host}:${port} within ${CONNECT_TIMEOUT_MS} ms`);
    socket.destroy(Object.assign(error, { code: "ETIMEDOUT" }));
  }, CONNECT_TIMEOUT_MS);
  socket.once(ready, () => { clearTimeout(timer); });
  socket.once("close", () => { clearTimeout(timer); });
  return socket;
}
