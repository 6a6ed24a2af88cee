// The W3C header `traceparent`, by which the logs of client, broker and worker are found together.

import { randomBytes } from "node:crypto";

/** The header's name. */
export const TRACE_HEADER = "traceparent";

/** A value of the header: a new span of this trace, or of a new one when there is none. */
export function traceparent(traceId = ""): string {
  const isOne = /^[0-9a-f]{32}$/.test(traceId);
  const id = isOne ? traceId : randomBytes(16).toString("hex");
  return `00-${id}-${randomBytes(8).toString("hex")}-01`;
}
