/** What stands before many nodes: each request goes to the next of them, whatever it belongs to. */
import { once } from 'node:events';
import { Agent, createServer, request, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pipeline } from 'node:stream/promises';

export interface Balancer extends AsyncDisposable {
  /** `localhost:PORT` */
  readonly host: string;
  /** How many requests each node has had, in their order. */
  readonly counts: readonly number[];
}

/** @param nodes `localhost:PORT` of each */
export async function startBalancer(nodes: readonly string[]): Promise<Balancer> {
  const agent = new Agent({ keepAlive: true });
  const counts = nodes.map(() => 0);
  let turn = 0;
  const server = createServer((req, res) => {
    const index = turn++ % nodes.length;
    counts[index] = (counts[index] ?? 0) + 1;
    // Whoever loses either side has the other cut off.
    pass(req, res, nodes[index] ?? '', agent).catch(() => res.destroy());
  });
  server.listen(0, 'localhost');
  await once(server, 'listening');
  return {
    host: `localhost:${(server.address() as AddressInfo).port}`, // not a pipe
    counts,
    [Symbol.asyncDispose]: async () => {
      server.close();
      server.closeAllConnections();
      agent.destroy();
      await once(server, 'close');
    },
  };
}

async function pass(req: IncomingMessage, res: ServerResponse, node: string, agent: Agent): Promise<void> {
  const [host = '', port] = node.split(':');
  // The Host of the client stays: Location headers lead back here.
  const onward = request({ host, port, agent, method: req.method, path: req.url, headers: req.headers });
  const answered = once(onward, 'response') as Promise<[IncomingMessage]>; // as http has it
  const [, [answer]] = await Promise.all([pipeline(req, onward), answered]);
  res.writeHead(answer.statusCode ?? 502, answer.rawHeaders);
  await pipeline(answer, res);
}
