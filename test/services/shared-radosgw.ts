/** One radosgw for all test files of a run, started when the first of them asks for it: most runs of one file do not. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { startRadosgw, type Radosgw, type RadosgwSettings } from './radosgw.ts';

export interface RadosgwOnDemand extends AsyncDisposable {
  /** Answers whom it may concern with the settings, as JSON; the first time once it runs. */
  readonly url: string;
}

/** For the set-up of the run, which outlives the test files. */
export async function radosgwOnDemand(): Promise<RadosgwOnDemand> {
  let started: Promise<Radosgw> | undefined;
  const server = createServer((_, answer) => {
    started ??= startRadosgw();
    started.then(({ settings }) => answer.end(JSON.stringify(settings)), (error: unknown) => answer.writeHead(500).end(String(error)));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, // a TCP server's address is none of a pipe
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
      await (await started?.catch(() => undefined))?.[Symbol.asyncDispose]();
    },
  };
}

/** For test files, which keep apart by buckets or prefixes of their own. @param url what `inject('radosgw')` gives */
export async function sharedRadosgw(url: string): Promise<RadosgwSettings> {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`radosgw did not start: ${await answer.text()}`);
  return (await answer.json()) as RadosgwSettings; // what radosgwOnDemand sends
}
