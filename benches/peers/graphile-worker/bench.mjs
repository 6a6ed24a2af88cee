// Graphile Worker on PostgreSQL, with the settings of its own performance test.
import { Logger, makeWorkerUtils, run } from "graphile-worker";
import pg from "pg";

import { main } from "../measure.mjs";

const CONCURRENCY = 24;
// Of those who enqueue; more of them only wait for each other.
const CONNECTIONS = 10;
const BATCHING = { localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 };
// How often the end of a drain is looked for, once all handlers have run.
const LOOK_MS = 2;

// It talks to stdout, which is for the result.
const logger = new Logger(() => (level, text) => {
  if (level === "error" || level === "warning") {
    console.error(text);
  }
});

await main(async ({ payload }) => {
  const connectionString = process.env.DATABASE_URL;
  const pgPool = new pg.Pool({ connectionString, max: CONNECTIONS });
  pgPool.on("error", console.error);
  pgPool.on("connect", (client) => client.on("error", console.error));
  const utils = await makeWorkerUtils({ pgPool, logger });
  await utils.migrate();
  const job = { identifier: "bench", payload: { payload } };
  let handled = 0;
  return {
    enqueueOne: () => utils.addJob(job.identifier, job.payload),
    enqueueBulk: (count) => utils.addJobs(Array(count).fill(job)),
    work: (begun) =>
      run({
        preset: {
          worker: {
            connectionString,
            concurrentJobs: CONCURRENCY,
            maxPoolSize: CONCURRENCY + 1,
            logger,
            ...BATCHING,
          },
        },
        taskList: {
          bench: () => {
            begun();
            handled++;
          },
        },
      }),
    completed: async (count) => {
      // A job goes when its completion is committed, some time after its handler.
      const left = "SELECT FROM graphile_worker.jobs LIMIT 1";
      while (handled < count || (await pgPool.query(left)).rowCount) {
        await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
      }
    },
  };
});
