// Bytes that asyncflow carries, made of values and read as values.

import { create } from "@bufbuild/protobuf";
import { ContentSchema } from "./generated/asyncflow/v1/task_pb.js";
import type { Content } from "./generated/asyncflow/v1/task_pb.js";

/** The content type of JSON. */
export const JSON_TYPE = "application/json";

/**
 * A value as JSON, for payloads, contexts and results.
 *
 * @throws TypeError for what JSON cannot say: undefined, functions, BigInt, circles.
 */
export function json(value: unknown): Content {
  const text = JSON.stringify(value) as string | undefined;
  if (text === undefined) throw new TypeError(`JSON has no way to say ${typeof value}`);
  return create(ContentSchema, { data: new TextEncoder().encode(text), contentType: JSON_TYPE });
}

/** Bytes, or a text as UTF-8. */
export function bytes(data: Uint8Array | string, contentType = ""): Content {
  const raw = typeof data === "string" ? new TextEncoder().encode(data) : data;
  return create(ContentSchema, { data: raw, contentType });
}

/**
 * What JSON in a content says; undefined when there is none, or it is empty. The type is the
 * caller's word: nothing checks it.
 *
 * @throws SyntaxError when it is no JSON.
 */
export function parseJson<T = unknown>(content: Content | undefined): T | undefined {
  if (!content || content.data.length === 0) return undefined;
  return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(content.data)) as T;
}

/** Whether it is a Content, and no other value. */
export function isContent(value: unknown): value is Content {
  return typeof value === "object" && value !== null && "$typeName" in value &&
    value.$typeName === ContentSchema.typeName;
}
