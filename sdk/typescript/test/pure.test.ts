import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import { messages } from "../src/client/bulk.js";
import { unseen } from "../src/client/logs.js";
import { bytes, ConfigError, Fail, FailureReason, json, parseJson, Retry } from "../src/index.js";
import { within } from "../src/pause.js";
import { resolveSettings } from "../src/settings.js";
import { traceparent } from "../src/trace.js";
import type { StreamTaskLogsResponse } from "../src/v1.js";
import {
  BadContext,
  cut,
  RESULT_BYTES_MAX,
  returned,
  stopped,
  thrown,
} from "../src/worker/outcome.js";
import type { Outcome } from "../src/worker/outcome.js";
import { clean, merged } from "../src/worker/progress.js";
import { Held } from "../src/worker/held.js";
import { Stop, StopError } from "../src/worker/stop.js";
import { windDown } from "../src/worker/wind-down.js";
import { LeaseSchema, StreamTaskLogsResponseSchema } from "../src/v1.js";

function reasonOf(outcome: Outcome): FailureReason | undefined {
  return outcome.kind === "fail" || outcome.kind === "release"
    ? outcome.request.failure?.reason
    : undefined;
}

describe("settings", () => {
  test("are what is given, else the environment, else the default", () => {
    assert.equal(resolveSettings({}, {}).address, "http://127.0.0.1:7070");
    const environment = { ASYNCFLOW_BROKER: "http://there:1/", ASYNCFLOW_TOKEN: " secret\n" };
    assert.equal(resolveSettings({}, environment).address, "http://there:1");
    assert.equal(resolveSettings({}, environment).token, "secret");
    assert.equal(resolveSettings({ address: "https://b:2" }, environment).address, "https://b:2");
    assert.equal(resolveSettings({}, { ASYNCFLOW_TOKEN: "" }).token, undefined);
  });

  test("read files", () => {
    const folder = mkdtempSync(join(tmpdir(), "asyncflow-settings-"));
    const file = join(folder, "token");
    writeFileSync(file, "of the file\n".replaceAll(" ", "-"));
    assert.equal(resolveSettings({}, { ASYNCFLOW_TOKEN_FILE: file }).token, "of-the-file");
    assert.equal(resolveSettings({ caFile: file }, {}).ca, "of-the-file\n");
    rmSync(folder, { recursive: true });
    assert.throws(() => resolveSettings({ tokenFile: file }, {}), /cannot read the token file/);
  });

  test("that are unusable are refused before any call", () => {
    for (const address of ["", "localhost:7070", "ftp://x", "http://a b", "http://a/path"]) {
      assert.throws(() => resolveSettings({ address }, {}), ConfigError, address);
    }
    assert.throws(() => resolveSettings({ token: "line\nbreak" }, {}), ConfigError);
  });
});

describe("contents", () => {
  test("are what they were made of", () => {
    assert.deepEqual(parseJson(json({ text: "Grüße, 世界", list: [1, null] })),
      { text: "Grüße, 世界", list: [1, null] });
    assert.equal(parseJson(undefined), undefined);
    assert.equal(parseJson(bytes("")), undefined);
    assert.throws(() => parseJson(bytes(new Uint8Array([0xff]))));
    assert.throws(() => json(undefined), TypeError);
    assert.throws(() => json(1n), TypeError);
  });
});

describe("outcomes", () => {
  test("of a result: one byte over the limit fails for good", () => {
    assert.equal(returned(bytes(new Uint8Array(RESULT_BYTES_MAX))).kind, "complete");
    const over = returned(bytes(new Uint8Array(RESULT_BYTES_MAX + 1)));
    assert.equal(reasonOf(over), FailureReason.RESULT_TOO_LARGE);
    assert.ok(over.kind === "fail" && over.request.permanent);
    assert.equal(reasonOf(returned(1n)), FailureReason.PERMANENT);
    const nothing = returned(undefined);
    assert.ok(nothing.kind === "complete" && nothing.request.result === undefined);
    const odd = returned(bytes("x", "a\nb"));
    assert.ok(odd.kind === "complete" && odd.request.result?.contentType === "");
  });

  test("of an error: as it says", () => {
    const later = thrown(new Retry("busy", { afterMs: 1_500 }), undefined);
    assert.ok(later.kind === "fail" && later.request.retryAfter);
    assert.equal(durationMs(later.request.retryAfter), 1_500);
    assert.equal(later.request.permanent, false);
    const never = thrown(new Fail("no"), undefined);
    assert.ok(never.kind === "fail" && never.request.permanent);
    assert.equal(reasonOf(never), FailureReason.PERMANENT);
    assert.equal(reasonOf(thrown(new BadContext("?"), undefined)), FailureReason.BAD_CONTEXT);
    const any = thrown(new TypeError("x is not a function"), undefined);
    assert.ok(any.kind === "fail" && !any.request.permanent);
    assert.equal(any.request.failure?.message, "TypeError: x is not a function");
    for (const afterMs of [NaN, Infinity, -5]) thrown(new Retry("odd", { afterMs }), undefined);
  });

  test("of a stop: its reason counts, whatever was thrown", () => {
    assert.equal(reasonOf(thrown(new Fail("no"), "drained")), FailureReason.DRAINED);
    assert.equal(reasonOf(stopped("cancelled")), FailureReason.CANCELLED);
    assert.equal(reasonOf(stopped("timed_out")), FailureReason.TIMED_OUT);
    assert.equal(stopped("lease_lost").kind, "abandoned");
  });

  test("have messages that are cut between characters", () => {
    assert.equal(Buffer.byteLength(cut("é".repeat(2_000))), 1_024);
    assert.equal(Buffer.byteLength(cut(`x${"é".repeat(2_000)}`)), 1_023);
  });
});

describe("a stop", () => {
  test("follows the stronger reason, and is aborted by the first", () => {
    const stop = new Stop();
    stop.raise("drained");
    assert.ok(stop.signal.aborted && !stop.lost.aborted);
    stop.raise("cancelled");
    stop.raise("drained");
    assert.equal(stop.reason, "cancelled");
    assert.throws(() => { stop.signal.throwIfAborted(); }, StopError);
    stop.raise("lease_lost");
    assert.ok(stop.lost.aborted);
  });
});

describe("progress", () => {
  test("leaves out what a broker would refuse", () => {
    const metrics = { loss: 0.5, "": 1, " ": 1, "a\nb": 1, ["x".repeat(65)]: 1, bad: Infinity };
    const fit = clean({ percent: NaN, message: "\u001b[1mepoch\t2", metrics });
    assert.deepEqual(fit, { message: " [1mepoch\t2", metrics: { loss: 0.5 } });
  });

  test("keeps the latest word of each field", () => {
    const all = merged({ percent: 10, metrics: { a: 1 } }, { message: "m", metrics: { b: 2 } });
    assert.deepEqual(all, { percent: 10, message: "m", metrics: { a: 1, b: 2 } });
  });
});

test("after a reconnect only the new part of a log is given out", () => {
  const chunk = (attempt: number, offset: bigint, text: string): StreamTaskLogsResponse =>
    create(StreamTaskLogsResponseSchema, { attempt, offset, data: Buffer.from(text) });
  const said = (news: StreamTaskLogsResponse | undefined): string | undefined =>
    news && Buffer.from(news.data).toString();
  const seen = { attempt: 0, end: 0n };
  assert.equal(said(unseen(seen, chunk(1, 0n, "abc"))), "abc");
  assert.equal(unseen(seen, chunk(1, 0n, "abc")), undefined);
  const rest = unseen(seen, chunk(1, 2n, "cde"));
  assert.deepEqual([rest?.offset, said(rest)], [3n, "de"]);
  assert.equal(said(unseen(seen, chunk(2, 0n, "x"))), "x");
  assert.equal(unseen(seen, chunk(1, 9n, "late")), undefined);
});

test("a stream of creates puts together what is there, and does not wait for more", async () => {
  const sizes: number[] = [];
  for await (const { requests } of messages(Array.from({ length: 1_001 }, () => ({})))) {
    sizes.push(requests.length);
    assert.ok(requests.every(({ requestId }) => requestId));
  }
  assert.deepEqual(sizes, [500, 500, 1]);
  const source: { failed?: { with: unknown } } = {};
  const cut = messages([{}, {}], source);
  await cut.next();
  // As connect does when the stream breaks: that is no fault of the caller's iterable.
  await assert.rejects(cut.throw(new Error("the stream broke")));
  assert.equal(source.failed, undefined);
  const payload = bytes(new Uint8Array(60_000));
  const heavy = messages(Array.from({ length: 30 }, () => ({ task: { payload } })));
  for await (const { requests } of heavy) assert.ok(requests.length <= 9);
  async function* slow(): AsyncGenerator<{ requestId: string }> {
    yield { requestId: "first" };
    await new Promise((resolve) => setTimeout(resolve, 50));
    yield { requestId: "second" };
  }
  const seen: string[][] = [];
  for await (const { requests } of messages(slow())) {
    seen.push(requests.map(({ requestId }) => requestId));
  }
  assert.deepEqual(seen, [["first"], ["second"]]);
});

test("a trace is gone on with, and rubbish begins a new one", () => {
  const id = "4bf92f3577b34da6a3ce929d0e0e4736";
  assert.ok(traceparent(id).startsWith(`00-${id}-`));
  assert.notEqual(traceparent(id), traceparent(id));
  for (const rubbish of ["", "x", `${id}\n`]) {
    assert.match(traceparent(rubbish), /^00-\w{32}-\w{16}-01$/);
  }
});

test("a worker ends though no broker hears how its attempts did, and says so", async () => {
  const held = new Held();
  const stop = held.add(create(LeaseSchema, { taskId: "t", attempt: 1 }));
  const [abort, giveUp] = [new AbortController(), new AbortController()];
  const said: string[] = [];
  const error = (message: string): void => { said.push(message); };
  const logger = { info: error, warn: error, error };
  const limits = { drainMs: 0, graceMs: 1, outcomesMsMax: 1, lastWordsMsMax: 1 };
  const never = new Promise<void>(() => undefined);
  await windDown({ idle: never, held, abort, giveUp, logger, ...limits });
  assert.match(said.join(), /not heard how 1 attempts ended/);
  assert.ok(abort.signal.aborted && giveUp.signal.aborted && stop?.lost.aborted);
});

test("waiting ends with the work, and leaves no timer behind", async () => {
  const begin = performance.now();
  await within(Promise.resolve(), 60_000);
  await within(new Promise(() => undefined), 60_000, AbortSignal.timeout(20));
  assert.ok(performance.now() - begin < 5_000);
});
