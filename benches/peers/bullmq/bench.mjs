// BullMQ on Redis.
import { Queue, Worker } from "bullmq";

import { main } from "../measure.mjs";

const CONCURRENCY = 100;

await main(async ({ payload }) => {
  const connection = { url: process.env.REDIS_URL };
  const queue = new Queue("bench", {
    connection,
    // Completed jobs stay in Redis for good otherwise.
    defaultJobOptions: { removeOnComplete: true },
  });
  await queue.waitUntilReady();
  const job = { name: "bench", data: { payload } };
  let noteCompleted = () => {};
  return {
    enqueueOne: () => queue.add(job.name, job.data),
    enqueueBulk: (count) => queue.addBulk(Array(count).fill(job)),
    work: async (begun) => {
      const options = { connection, concurrency: CONCURRENCY };
      const worker = new Worker("bench", async () => begun(), options);
      // The event comes after Redis has answered the completion.
      worker.on("completed", () => noteCompleted());
      worker.on("error", console.error);
      await worker.waitUntilReady();
    },
    completed: (count) =>
      new Promise((resolve) => {
        noteCompleted = () => --count || resolve();
      }),
  };
});
