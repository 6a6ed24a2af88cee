// A real broker with its governor for the tests, on a fresh directory.

import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as pause } from "node:timers/promises";

const READY_MS_MAX = 60_000;
// From sdk/typescript/dist/test.
const ROOT = resolve(import.meta.dirname, "../../../..");

/** A broker and a governor of their own, with short leases. */
export class Broker {
  readonly folder = mkdtempSync(join(tmpdir(), "asyncflow-ts-"));
  #processes: ChildProcess[] = [];
  #ports = { broker: 0, brokerHttp: 0, governor: 0, governorHttp: 0 };

  /** Starts them; returns when they serve. */
  static async started(): Promise<Broker> {
    const made = new Broker();
    made.#ports = {
      broker: await freePort(),
      brokerHttp: await freePort(),
      governor: await freePort(),
      governorHttp: await freePort(),
    };
    await made.start();
    return made;
  }

  get address(): string {
    return `http://127.0.0.1:${this.#ports.broker}`;
  }

  /** Starts both programs. */
  async start(): Promise<void> {
    const database = `sqlite://${this.folder}/asyncflow.db`;
    const { broker, brokerHttp, governor, governorHttp } = this.#ports;
    await this.#run("broker", brokerHttp, {
      DATABASE__URL: database,
      LISTEN__ADDRESS: `127.0.0.1:${broker}`,
      LEASE__TTL_MS: "3000",
      LEASE__HEARTBEAT_INTERVAL_MS: "1000",
      LEASE__HANDOUT_TTL_MS: "3000",
      DRAIN_TIME_MS: "1000",
    });
    await this.#run("governor", governorHttp, {
      DATABASE__URL: database,
      LISTEN__ADDRESS: `127.0.0.1:${governor}`,
      LEADER__TTL_MS: "2000",
      LEASE__HEARTBEAT_INTERVAL_MS: "1000",
      DUTIES__REAP_INTERVAL_MS: "200",
    });
  }

  /** SIGKILL to both, and what they wrote is taken away. */
  async stop(): Promise<void> {
    await this.kill();
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** SIGKILL to both. */
  async kill(): Promise<void> {
    const gone = this.#processes.map(async (process) => {
      if (process.exitCode !== null || process.signalCode !== null) return;
      const exit = new Promise((resolve) => process.once("exit", resolve));
      process.kill("SIGKILL");
      await exit;
    });
    this.#processes = [];
    await Promise.all(gone);
  }

  async #run(name: string, http: number, settings: Record<string, string>): Promise<void> {
    const prefix = `ASYNCFLOW_${name.toUpperCase()}__`;
    const all = { ...settings, METRICS__ADDRESS: `127.0.0.1:${http}` };
    const own = Object.entries(all).map(([key, value]) => [prefix + key, value]);
    const process = spawn(program(`asyncflow-${name}`), {
      env: { ...globalThis.process.env, ...Object.fromEntries(own) as Record<string, string> },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let said = "";
    for (const stream of [process.stdout, process.stderr]) {
      stream.on("data", (data: Buffer) => { said = (said + data.toString()).slice(-4_000); });
    }
    this.#processes.push(process);
    const end = performance.now() + READY_MS_MAX;
    while (!await isReady(http)) {
      if (process.exitCode !== null || performance.now() > end) {
        throw new Error(`the ${name} does not serve:\n${said}`);
      }
      await pause(50);
    }
  }
}

function program(name: string): string {
  const folder = process.env.ASYNCFLOW_BIN_DIR ??
    join(process.env.CARGO_TARGET_DIR ?? join(ROOT, "target"), "debug");
  const path = join(folder, name);
  if (!existsSync(path)) {
    throw new Error(`there is no ${path}: cargo build --workspace --bins, or ASYNCFLOW_BIN_DIR`);
  }
  return path;
}

async function isReady(port: number): Promise<boolean> {
  try {
    return (await fetch(`http://127.0.0.1:${port}/readyz`)).ok;
  } catch {
    return false;
  }
}

/** A port that nobody listens on now. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
