// Messages of scenarios: proto JSON with the names of the proto, and contents as `json`.

import { fromJson, toJson } from "@bufbuild/protobuf";
import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { TaskSchema, TaskSpecSchema } from "../src/v1.js";
import type { Task, TaskSpec } from "../src/v1.js";
import { isObject } from "./judge.js";
import type { Json } from "./judge.js";

/** A task as a scenario describes it. */
export function specOf(task: Json): TaskSpec {
  return fromJson(TaskSpecSchema, withContents(task));
}

/** A task as conditions look at it. */
export function told(task: Task): Json {
  return toldAs(TaskSchema, task);
}

/** A message as conditions look at it. */
export function toldAs<D extends DescMessage>(schema: D, message: MessageShape<D>): Json {
  const options = { useProtoFieldName: true };
  return withParsed(toJson<DescMessage, typeof options>(schema, message, options));
}

/** `{"json": value}` becomes data and content type. */
function withContents(task: Json): Json {
  if (!isObject(task)) return task;
  const made = { ...task };
  for (const field of ["payload", "context"]) {
    const content = made[field];
    if (isObject(content) && content.json !== undefined) {
      const data = Buffer.from(JSON.stringify(content.json)).toString("base64");
      made[field] = { data, content_type: "application/json" };
    }
  }
  return made;
}

/** Contents that hold JSON have the parsed value beside their data. */
function withParsed(value: Json): Json {
  if (Array.isArray(value)) return value.map(withParsed);
  if (!isObject(value)) return value;
  const { data, content_type: contentType } = value;
  if (contentType === "application/json" && typeof data === "string") {
    const text = Buffer.from(data, "base64").toString();
    return { ...value, json: JSON.parse(text) as Json };
  }
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, withParsed(one)]));
}
