// The leases that this process holds, from acquire until the broker has confirmed their end.

import { LeaseVerdict } from "../generated/asyncflow/v1/worker_service_pb.js";
import type { Lease, LeaseStatus } from "../generated/asyncflow/v1/worker_service_pb.js";
import { Stop } from "./stop.js";
import type { StopReason } from "./stop.js";

interface Entry {
  lease: Lease;
  stop: Stop;
}

/** All leases with the stops of their attempts. */
export class Held {
  readonly #entries = new Map<string, Entry>();
  #waiting: (() => void)[] = [];

  /** Adds a lease and gives its stop; undefined when it is held already. */
  add(lease: Lease): Stop | undefined {
    if (this.#entries.has(key(lease))) return undefined;
    const stop = new Stop();
    this.#entries.set(key(lease), { lease, stop });
    return stop;
  }

  remove(lease: Lease): void {
    this.#entries.delete(key(lease));
    this.wake();
  }

  leases(): Lease[] {
    return [...this.#entries.values()].map(({ lease }) => lease);
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Resolves at the next removal, or {@link wake}. */
  changed(): Promise<void> {
    return new Promise((resolve) => { this.#waiting.push(resolve); });
  }

  /** Lets those go on who wait for a change. */
  wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }

  /** Raises a reason for one lease. */
  raise(lease: Lease, reason: StopReason): void {
    this.#entries.get(key(lease))?.stop.raise(reason);
  }

  raiseAll(reason: StopReason): void {
    for (const { stop } of this.#entries.values()) stop.raise(reason);
  }

  /** Tells all attempts whether heartbeats get through. */
  setCutOff(isCutOff: boolean): void {
    for (const { stop } of this.#entries.values()) stop.isCutOff = isCutOff;
  }

  /** Follows what a broker said about leases. */
  follow(statuses: readonly LeaseStatus[]): void {
    for (const { lease, verdict } of statuses) {
      if (!lease) continue;
      if (verdict === LeaseVerdict.CANCEL) this.raise(lease, "cancelled");
      if (verdict === LeaseVerdict.LOST) this.raise(lease, "lease_lost");
    }
  }

  /** After a registration: what was sent as `adopted` and not confirmed is lost. */
  keepAdopted(sent: readonly Lease[], adopted: readonly Lease[]): void {
    const kept = new Set(adopted.map(key));
    for (const lease of sent) {
      if (!kept.has(key(lease))) this.raise(lease, "lease_lost");
    }
  }
}

/** Names a lease in maps. */
export function key(lease: Lease): string {
  return `${lease.taskId} ${lease.attempt}`;
}
