// Runs the four scenarios against a queue of Node: the loops, the clock and the one line of JSON
// are the same for each, so that only the queue differs.
//
// A queue has: enqueueOne() and enqueueBulk(count), which resolve when that is acknowledged;
// work(begun), which starts a worker that calls begun() in the handler of each task;
// completed(count), which resolves when so many are completed and that is acknowledged.

const BATCH = 500;
// Before the samples that count: connections, prepared statements, compiled code.
const WARM_UP = 20;
// Between two tasks, so that the worker is idle again.
const PAUSE_MS = 20;

const number = (name, otherwise) => Number(process.env[name] ?? otherwise);
const seconds = (start) => (performance.now() - start) / 1_000;
const callers = (count, call) => Promise.all(Array.from({ length: count }, call));

export async function main(open) {
  const settings = {
    count: number("COUNT", 20_000),
    inFlight: number("IN_FLIGHT", 64),
    samples: number("SAMPLES", 200),
    span: number("SECONDS", 5),
    payload: "x".repeat(number("PAYLOAD_BYTES", 256)),
  };
  const scenarios = {
    enqueue_one: (queue) => rate(settings, 1, () => queue.enqueueOne()),
    enqueue_bulk: (queue) => rate(settings, BATCH, () => queue.enqueueBulk(BATCH)),
    drain: (queue) => drain(queue, settings),
    latency: (queue) => latency(queue, settings),
  };
  const scenario = process.argv[2];
  if (!Object.hasOwn(scenarios, scenario)) {
    console.error(`usage: node ${process.argv[1]} ${Object.keys(scenarios).join("|")}`);
    process.exit(2);
  }
  const result = await scenarios[scenario](await open(settings));
  console.log(JSON.stringify({ scenario, ...result }));
  // Pools and timers would keep it alive.
  process.exit(0);
}

// Repeats a step of so many tasks in each caller; the first of each opens its connection and does
// not count.
async function rate({ inFlight, span }, tasks, step) {
  await callers(inFlight, step);
  let count = 0;
  const start = performance.now();
  await callers(inFlight, async () => {
    while (seconds(start) < span) {
      await step();
      count += tasks;
    }
  });
  return { count, seconds: seconds(start) };
}

async function drain(queue, { count }) {
  for (let left = count; left > 0; left -= BATCH) {
    await queue.enqueueBulk(Math.min(left, BATCH));
  }
  const start = performance.now();
  const done = queue.completed(count);
  await queue.work(() => {});
  await done;
  return { count, seconds: seconds(start) };
}

async function latency(queue, { samples }) {
  let noteBegin;
  await queue.work(() => noteBegin(performance.now()));
  const found = [];
  for (let sample = 0; sample < samples + WARM_UP; sample++) {
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    const begun = new Promise((resolve) => (noteBegin = resolve));
    const sent = performance.now();
    await queue.enqueueOne();
    const ms = (await begun) - sent;
    if (sample >= WARM_UP) {
      found.push(ms);
    }
  }
  found.sort((a, b) => a - b);
  const quantile = (part) => found[Math.max(Math.ceil(part * found.length) - 1, 0)];
  return { p50_ms: quantile(0.5), p99_ms: quantile(0.99), samples };
}
