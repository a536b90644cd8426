/** The real server, in this process, on a free port of the loopback: what most tests talk to. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadConfig } from '../../src/config/load.ts';
import { createLog } from '../../src/observe/log.ts';
import { startServer } from '../../src/server.ts';
import { soloGroup } from '../../src/workers/solo.ts';
import { systemTimers } from '../../src/workers/timers.ts';
import { pagesOf } from '../e2e/pages.ts';
import { isWatched, knowKeys, knowSecrets, watchSaid } from './secret-watch.ts';

export type Overrides = Readonly<Record<string, unknown>>;

export interface Surroundings {
  /** Where its log goes; default: nowhere. */
  readonly log?: (line: string) => void;
  /** The server's clock; default: the machine's. */
  readonly nowMs?: () => number;
}

export interface TestUmbra {
  /** `http://127.0.0.1:<port>` of the first listener. */
  readonly origin: string;
  /** One for each listener. */
  readonly origins: readonly string[];
  close(): Promise<void>;
}

/**
 * @param settings a configuration as a file would have it, over: memory storage, no upstreams, one listener on a free
 *   port, anonymous push
 */
export async function startUmbra(settings: Overrides = {}, { nowMs = Date.now, log: write = () => undefined }: Surroundings = {}): Promise<TestUmbra> {
  const folder = mkdtempSync(join(tmpdir(), 'umbra-test-'));
  const file = join(folder, 'umbra.yaml');
  // JSON is YAML.
  writeFileSync(file, JSON.stringify({ listeners: [{ address: '127.0.0.1:0' }], storage: { driver: 'memory' }, upstreams: {}, ...settings }));
  const { config } = await loadConfig(file, { cwd: folder, env: {}, processors: 1 });
  const lines: string[] = [];
  if (isWatched()) {
    knowSecrets(settings, { folder });
    watchSaid('a server in this process', () => lines.join(''));
  }
  const told = (line: string): void => {
    if (isWatched()) lines.push(line);
    write(line);
  };
  const log = createLog({ level: 'info', format: 'json', write: told, nowMs });
  const server = await startServer(config, { group: soloGroup(systemTimers), timers: systemTimers, log, env: {}, nowMs });
  const scheme = (i: number): string => (config.listeners[i]?.tls === undefined ? 'http' : 'https');
  const origins = server.addresses.map(({ host, port }, i) => `${scheme(i)}://${host}:${port}`);
  return {
    origin: origins[0] ?? '',
    origins,
    close: async () => {
      // Some close it twice.
      if (isWatched() && existsSync(folder)) watchSaid('its metrics', await pagesOf(origins[0] ?? '', ['/metrics']));
      for (const name of ['umbra-data.key', 'umbra-data.ca.key']) knowKeys(join(folder, name));
      knowSecrets(settings, { folder });
      await server.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
