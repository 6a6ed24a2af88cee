// Errors that this side made because a connection broke or could not be made, told from those that
// a broker answered.

import { Code, ConnectError } from "@connectrpc/connect";

const GRPC_STATUS = "grpc-status";
// How connect tells of streams that end before their time.
const BROKEN = /^(http\/2 stream closed|protocol error: missing|premature|missing trailer)/i;

/** This side has closed the connection. */
export class ClosedError extends Error {
  override readonly name = "ClosedError";

  constructor() {
    super("the connection was closed");
  }
}

/** Whether the broker has not spoken, because the connection broke or could not be made. */
export function brokeInTransit(error: ConnectError): boolean {
  if (error.metadata.has(GRPC_STATUS)) return false;
  switch (error.code) {
    case Code.Unavailable:
    case Code.Aborted:
      return true;
    case Code.Canceled:
      // A stream that the other side, or a dying connection, has ended. The caller's own abort is
      // taken out before.
      return true;
    case Code.Internal:
    case Code.Unknown:
    case Code.ResourceExhausted:
      return BROKEN.test(error.rawMessage) || causes(error).some((one) => nodeCode(one) !== "");
    default:
      return false;
  }
}

/** Whether it is known that no broker has seen the call. */
export function neverConnected(error: unknown): boolean {
  const codes = causes(error).map(nodeCode);
  return codes.some((code) => ["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN"].includes(code));
}

/** What the error rests on, e.g. `connect ECONNREFUSED 127.0.0.1:7070`. */
export function rootCause(error: ConnectError): string {
  const last = causes(error).at(-1);
  if (last === undefined || last instanceof ConnectError) return error.rawMessage;
  // What comes of several addresses tried at once has no words of its own.
  return last.message || nodeCode(last) || error.rawMessage;
}

function causes(error: unknown): Error[] {
  const chain: Error[] = [];
  for (let one = error; one instanceof Error && !chain.includes(one); one = one.cause) {
    chain.push(one);
  }
  return chain;
}

function nodeCode(error: Error): string {
  return "code" in error && typeof error.code === "string" ? error.code : "";
}
