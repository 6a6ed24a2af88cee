// One heartbeat for all leases, and the stream over which the broker pushes commands.

import { AsyncflowError } from "../error.js";
import { Backoff, isAborted, jittered, sleep } from "../pause.js";
import type { Held } from "./held.js";
import type { Link } from "./link.js";
import type { Logger } from "./options.js";

// After a failure the next heartbeat comes after this part of the interval.
const HURRY = 5;
const CALL_TIMEOUT_MS_MIN = 1_000;

/**
 * Renews all leases until the signal is aborted. If nothing got through for a whole lease the
 * attempts are told that they are cut off; they go on, since the broker's fence decides.
 */
export async function beat(
  link: Link,
  held: Held,
  isDraining: () => boolean,
  logger: Logger,
  signal: AbortSignal,
): Promise<void> {
  let lastOk = performance.now();
  let failures = 0;
  while (!signal.aborted) {
    const session = await link.session(signal);
    const interval = session.heartbeatIntervalMs;
    const sentAt = performance.now();
    let wait = interval;
    try {
      const answer = await link.call(
        (stubs, sessionId, options) => stubs.heartbeat(
          { sessionId, leases: held.leases(), draining: isDraining() },
          options,
        ),
        { timeoutMs: Math.max(interval, CALL_TIMEOUT_MS_MIN), signal },
      );
      lastOk = sentAt;
      if (failures > 0) logger.info("heartbeats get through again");
      failures = 0;
      held.setCutOff(false);
      held.follow(answer.leases);
    } catch (error) {
      if (isAborted(signal)) return;
      // One line for an outage.
      if (failures === 0) logger.warn(`heartbeats fail: ${AsyncflowError.from(error).message}`);
      failures += 1;
      wait = jittered(interval / HURRY);
    }
    if (performance.now() >= lastOk + session.leaseTtlMs) held.setCutOff(true);
    await sleep(Math.max(sentAt + wait - performance.now(), wait / HURRY), signal);
  }
}

/** Follows pushed commands until the signal is aborted; the heartbeat is the safety net. */
export async function followCommands(link: Link, held: Held, signal: AbortSignal): Promise<void> {
  const backoff = new Backoff();
  while (!signal.aborted) {
    const session = await link.session(signal);
    let failed = new AsyncflowError({ code: "UNAVAILABLE", text: "the stream ended" });
    try {
      const commands = link.stubs.streamCommands({ sessionId: session.id }, { signal });
      for await (const { command } of commands) {
        backoff.reset();
        if (command.case === "cancel") held.raise(command.value, "cancelled");
      }
    } catch (error) {
      failed = AsyncflowError.from(error);
      link.noteError(session.id, failed);
    }
    await sleep(backoff.after(failed), signal);
  }
}
