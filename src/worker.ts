/** The entry of one worker process: the same server, as one of a group. Started by `serve.ts`. */
import { unpackConfig } from './config/transfer.ts';
import { startServer } from './server.ts';
import { systemTimers } from './workers/timers.ts';
import { workerMain } from './workers/worker.ts';

workerMain({
  process,
  timers: systemTimers,
  failed: (topic, error) => console.error(`umbra: handling ${topic} failed`, error),
  start: async (data, group) => {
    const server = await startServer(unpackConfig(data), { group, timers: systemTimers, env: process.env, nowMs: Date.now });
    return { report: server.addresses, drain: () => server.close() };
  },
});
