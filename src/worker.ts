/** The entry of one worker process: the same server, as one of a group. Started by `serve.ts`. */
import { unpackConfig } from './config/transfer.ts';
import { openLog } from './observe/open-log.ts';
import type { WorkerData } from './serve.ts';
import { startServer } from './server.ts';
import { systemTimers } from './workers/timers.ts';
import { workerMain } from './workers/worker.ts';

workerMain({
  process,
  timers: systemTimers,
  failed: (topic, error) => console.error(`umbra: handling ${topic} failed`, error),
  start: async (data, group) => {
    const { config, logging } = data as WorkerData; // what serve.ts gave the primary
    const log = openLog({ ...logging, fd: 1, timers: systemTimers, nowMs: Date.now });
    const server = await startServer(unpackConfig(config), { group, timers: systemTimers, log, env: process.env, nowMs: Date.now });
    return {
      report: server.addresses,
      drain: async () => {
        await server.close();
        await log.flush();
      },
    };
  },
});
