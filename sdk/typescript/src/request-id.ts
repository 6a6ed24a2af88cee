// Request ids: what makes a create safe to be repeated.

import { randomUUID } from "node:crypto";
import { clone, create, isMessage } from "@bufbuild/protobuf";
import type { DescMessage, Message } from "@bufbuild/protobuf";

/**
 * The request as a message, with a request id in each place for one. A copy, where one is missing:
 * the caller may send the same message again and mean another request.
 */
export function identified(schema: DescMessage, request: unknown): Message {
  const message = isMessage(request, schema)
    ? request
    : create(schema, request as Record<string, unknown>);
  const id = schema.field.requestId;
  if (id?.fieldKind === "scalar" && !(message as Message & WithId).requestId) {
    return Object.assign(clone(schema, message), { requestId: randomUUID() });
  }
  const inner = schema.field.requests;
  if (inner?.message?.field.requestId) {
    return withInner(schema, message as Message & { requests: (Message & WithId)[] });
  }
  return message;
}

/** Whether a request has a place for an id, itself or in each of its `requests`. */
export function isIdentified({ field }: DescMessage): boolean {
  return field.requestId?.fieldKind === "scalar" ||
    field.requests?.message?.field.requestId !== undefined;
}

interface WithId {
  requestId: string;
}

function withInner(
  schema: DescMessage,
  message: Message & { requests: (Message & WithId)[] },
): Message {
  if (message.requests.every((one) => one.requestId)) return message;
  const copy = clone(schema, message) as typeof message;
  for (const one of copy.requests) one.requestId ||= randomUUID();
  return copy;
}
