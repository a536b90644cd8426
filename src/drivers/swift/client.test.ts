/** What the client does by itself, before a server that is asked too much. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { systemTimers } from '../../workers/timers.ts';
import { attempts } from '../object-store/attempts.ts';
import { SwiftClient } from './client.ts';

test('a call that waits for its turn ends when its caller leaves', async () => {
  let asked = 0;
  const busy = Promise.withResolvers<void>();
  const server = createServer(() => void (++asked === 64 && busy.resolve())).listen(0); // and never answers
  await once(server, 'listening');
  const url = `http://localhost:${(server.address() as AddressInfo).port}/v1/AUTH_test`;
  const client = new SwiftClient({
    session: { access: async () => ({ url, publicUrl: url, token: 'token' }), refused: () => undefined, close: async () => undefined },
    attempts: attempts({ nowMs: Date.now, timers: systemTimers, random: Math.random, store: 'Swift', report: () => undefined }),
    container: 'images', who: 'a test', ca: undefined, insecure: false, stallMs: 60_000,
  });
  const head = (signal?: AbortSignal): Promise<unknown> => client.call({ method: 'HEAD', what: 'head', expect: [204], signal });
  const running = Promise.allSettled(Array.from({ length: 64 }, () => head()));
  await busy.promise;
  const leaving = new AbortController();
  const waiting = head(leaving.signal);
  leaving.abort(new Error('the client left'));
  await expect(waiting).rejects.toThrow('the client left');
  expect(asked).toBe(64);
  await client.close();
  server.closeAllConnections();
  server.close();
  await running;
});
