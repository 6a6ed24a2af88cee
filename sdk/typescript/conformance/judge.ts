// Variables and conditions of scenarios, see sdk/conformance/README.md. Pure.

/** What JSON can say. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
/** A JSON object. */
export type JsonObject = Record<string, Json>;

/** A step did not do what it should. */
export class StepError extends Error {}

const VARIABLE = /\$([A-Za-z0-9_]+)((?:\.[A-Za-z0-9_]+)*)/g;

/** Replaces `$name` and `$name.path` in every string, keys included. */
export function replaced(value: Json, variables: ReadonlyMap<string, Json>): Json {
  if (typeof value === "string") return text(value, variables);
  if (Array.isArray(value)) return value.map((one) => replaced(one, variables));
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, one]) => [text(key, variables), replaced(one, variables)]),
  );
}

function text(value: string, variables: ReadonlyMap<string, Json>): string {
  return value.replace(VARIABLE, (whole, name: string, path: string) => {
    const root = variables.get(name);
    const found = root === undefined ? undefined : at(root, path.slice(1));
    if (typeof found !== "string" && typeof found !== "number") {
      throw new StepError(`${whole} is not known, or no text: ${JSON.stringify(found)}`);
    }
    return String(found);
  });
}

/** What is at the path; `#` at its end is the length of a list. */
export function at(value: Json, path: string): Json | undefined {
  let found: Json | undefined = value;
  for (const part of path === "" ? [] : path.split(".")) {
    if (part === "#") {
      found = Array.isArray(found) ? found.length : 0;
    } else if (Array.isArray(found)) {
      found = found[Number(part)];
    } else {
      found = isObject(found) && Object.hasOwn(found, part) ? found[part] : undefined;
    }
  }
  return found;
}

/** Fails unless the answer meets all conditions. */
export function expectAll(answer: Json, conditions: JsonObject): void {
  for (const [path, condition] of Object.entries(conditions)) {
    const found = at(answer, path);
    if (!meets(found, condition)) {
      const [is, wanted] = [JSON.stringify(found ?? null), JSON.stringify(condition)];
      throw new StepError(`${path}: ${is} instead of ${wanted}`);
    }
  }
}

/** Whether a value meets a condition. */
export function meets(found: Json | undefined, condition: Json): boolean {
  if (isObject(condition) && ("any" in condition || "exists" in condition)) {
    const unknown = Object.keys(condition).filter((key) => key !== "any" && key !== "exists");
    if (unknown.length > 0) throw new StepError(`nobody knows the condition ${unknown.join(", ")}`);
    const { any, exists } = condition;
    if (exists !== undefined && (found !== undefined) !== exists) return false;
    return any === undefined || (Array.isArray(any) && any.some((one) => equal(found, one)));
  }
  return equal(found, condition);
}

/** Numbers equal strings that spell them, and what is not there equals what is empty. */
export function equal(found: Json | undefined, wanted: Json): boolean {
  if (found === undefined) return isEmpty(wanted);
  if (Array.isArray(found) && Array.isArray(wanted)) {
    return found.length === wanted.length &&
      found.every((one, index) => equal(one, wanted[index] ?? null));
  }
  if (isObject(found) && isObject(wanted)) {
    const keys = new Set([...Object.keys(found), ...Object.keys(wanted)]);
    return [...keys].every((key) => {
      const expected = wanted[key];
      return expected === undefined ? isEmpty(found[key] ?? null) : equal(found[key], expected);
    });
  }
  if (typeof found === "string" && typeof wanted === "number") return spells(found, wanted);
  if (typeof found === "number" && typeof wanted === "string") return spells(wanted, found);
  return found === wanted;
}

function spells(text: string, number: number): boolean {
  return text.trim() !== "" && Number(text) === number;
}

function isEmpty(value: Json): boolean {
  if (Array.isArray(value)) return value.length === 0;
  if (isObject(value)) return Object.keys(value).length === 0;
  return value === 0 || value === "" || value === false;
}

/** A text as it is, anything else as JSON. */
export function spelled(value: Json | undefined): string {
  return typeof value === "string" ? value : JSON.stringify(value ?? null);
}

/** Whether it is a JSON object. */
export function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
