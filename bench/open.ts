/** The servers of a section by contender: those that take part, with nothing in them. */
import type { Bench } from './bench.ts';
import type { Contender } from './row.ts';
import { startDockerRegistry, startFileServer, startUmbra, type Server, type UmbraOptions } from './servers.ts';

export interface Servers {
  /** @throws Error where the contender takes no part */
  at(contender: Contender): Server;
  readonly registries: readonly Server[];
  close(): Promise<void>;
}

/** @param files what nginx serves as the limit; undefined where no file server is one */
export async function openServers(bench: Bench, files?: string, umbra: UmbraOptions = {}): Promise<Servers> {
  const servers = new Map<Contender, Server>();
  const open = async (contender: Contender, start: (folder: string) => Promise<Server>): Promise<void> => {
    if (!bench.options.without.has(contender)) servers.set(contender, await start(await bench.folder(contender)));
  };
  await open('umbra', (folder) => startUmbra(folder, umbra));
  await open('docker-registry', startDockerRegistry);
  if (files !== undefined) await open('limit', (folder) => startFileServer(folder, files));
  return {
    at(contender) {
      const server = servers.get(contender);
      if (server === undefined) throw new Error(`${contender} takes no part`);
      return server;
    },
    registries: [...servers].filter(([contender]) => contender !== 'limit').map(([, server]) => server),
    async close() {
      for (const server of servers.values()) await server.stop();
    },
  };
}
