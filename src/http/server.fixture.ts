/** A server for one test, on a free port of the loopback address. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface TestServer {
  readonly port: number;
  /** How each request's handling ended, in order of arrival. */
  readonly outcomes: Promise<unknown>[];
  close(): Promise<void>;
}

/** The handler's rejection is an outcome like any other. */
export async function serve(handle: (req: IncomingMessage, res: ServerResponse) => Promise<unknown>): Promise<TestServer> {
  const outcomes: Promise<unknown>[] = [];
  const server = createServer((req, res) => {
    const outcome = handle(req, res);
    outcome.catch(() => undefined);
    outcomes.push(outcome);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port, // not a pipe
    outcomes,
    close: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}
