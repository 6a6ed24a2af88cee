// Plays the scenarios that are given as arguments, and prints one JSON object a line for each.

import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { fromJson } from "@bufbuild/protobuf";
import { AsyncflowError, Client } from "../src/index.js";
import { TaskTypeSchema } from "../src/v1.js";
import { expectAll, isObject, meets, replaced, spelled, StepError } from "./judge.js";
import type { Json, JsonObject } from "./judge.js";
import { isDoneWithin, play } from "./steps.js";
import type { Stage } from "./steps.js";

const LEAVE_MS_MAX = 5_000;

interface Scenario {
  name: string;
  about: string;
  types: Record<string, JsonObject>;
  steps: JsonObject[];
}

async function playAll(paths: string[]): Promise<boolean> {
  let isAllOk = true;
  for (const path of paths) {
    const scenario = JSON.parse(readFileSync(path, "utf8")) as Scenario;
    const result = await playOne(scenario);
    isAllOk &&= result.ok === true;
    process.stdout.write(`${JSON.stringify({ scenario: scenario.name, ...result })}\n`);
  }
  return isAllOk;
}

async function playOne(scenario: Scenario): Promise<JsonObject> {
  const stage: Stage = { client: new Client(), workers: new Map(), watches: new Map() };
  const variables = new Map<string, Json>();
  let at = 0;
  try {
    await makeTypes(scenario, stage, variables);
    for (const [index, step] of scenario.steps.entries()) {
      at = index;
      const answer = await checked(replaced(step, variables) as JsonObject, stage);
      if (typeof step.save === "string") variables.set(step.save, answer);
    }
    return { ok: true };
  } catch (error) {
    return { ok: false, step: at, message: error instanceof Error ? error.message : String(error) };
  } finally {
    await leave(stage);
  }
}

async function makeTypes(
  scenario: Scenario,
  { client }: Stage,
  variables: Map<string, Json>,
): Promise<void> {
  for (const [key, type] of Object.entries(scenario.types)) {
    const name = `${key}_${randomBytes(4).toString("hex")}`;
    await client.createTaskType(fromJson(TaskTypeSchema, { ...type, name }));
    variables.set(key, name);
  }
}

/** Does a step; its answer, if all is as the step says that it must be. */
async function checked(step: JsonObject, stage: Stage): Promise<Json> {
  const begin = performance.now();
  let answer: Json = {};
  let failed: AsyncflowError | undefined;
  try {
    answer = await play(step, stage);
  } catch (error) {
    if (!(error instanceof AsyncflowError) || step.expect_error === undefined) throw error;
    failed = error;
  }
  const took = Math.round(performance.now() - begin);
  const { at_most_ms: most = Infinity, at_least_ms: least = 0 } = step;
  if (took > Number(most)) throw new StepError(`took ${took} ms, at most ${spelled(most)}`);
  if (took < Number(least)) throw new StepError(`took ${took} ms, at least ${spelled(least)}`);
  if (isObject(step.expect_error)) checkError(failed, step.expect_error);
  if (isObject(step.expect)) expectAll(answer, step.expect);
  return answer;
}

function checkError(failed: AsyncflowError | undefined, wanted: JsonObject): void {
  if (!failed) throw new StepError(`did not fail, but should: ${JSON.stringify(wanted)}`);
  const { code, reason, retryable } = failed;
  const found: JsonObject = {
    code,
    reason,
    retryable,
    violations: failed.violations.map(({ field }) => field).sort(),
  };
  for (const [key, condition] of Object.entries(wanted)) {
    if (!Object.hasOwn(found, key)) throw new StepError(`errors have no ${key}`);
    const sorted = key === "violations" && Array.isArray(condition)
      ? condition.map(String).sort()
      : condition;
    if (!meets(found[key], sorted)) {
      const [is, should] = [JSON.stringify(found[key]), JSON.stringify(sorted)];
      throw new StepError(`${key} of the error: ${is} instead of ${should} (${failed.message})`);
    }
  }
}

async function leave({ client, workers, watches }: Stage): Promise<void> {
  await Promise.all([...watches.values()].map((watching) => watching.stop()));
  await Promise.all([...workers.values()].map(async (worker) => {
    const ended = worker.stop({ drainMs: 0 }).catch(() => undefined);
    if (!await isDoneWithin(ended, LEAVE_MS_MAX)) await worker.abort().catch(() => undefined);
  }));
  client.close();
}

process.exitCode = await playAll(process.argv.slice(2)) ? 0 : 1;
