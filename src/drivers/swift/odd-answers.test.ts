/** A Swift that answers what it should not: whoever asks it ends all the same. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { systemTimers } from '../../workers/timers.ts';
import { all } from '../contract/store.contract.ts';
import { attempts } from '../object-store/attempts.ts';
import { SwiftClient } from './client.ts';
import { listKeys } from './listing.ts';
import { namesOfManifest } from './manifest.ts';

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

/** A client of a server that answers so. */
async function clientOf(answer: (query: URLSearchParams, res: ServerResponse, req: IncomingMessage) => void): Promise<SwiftClient> {
  const server = createServer((req, res) => answer(new URL(req.url ?? '', 'http://swift').searchParams, res, req)).listen(0);
  await once(server, 'listening');
  const url = `http://localhost:${(server.address() as AddressInfo).port}/v1/AUTH_test`;
  const client = new SwiftClient({
    session: { access: async () => ({ url, publicUrl: url, token: 'token' }), refused: () => undefined, close: async () => undefined },
    attempts: attempts({ nowMs: Date.now, timers: systemTimers, random: () => 0, store: 'Swift', report: () => undefined }),
    container: 'images', who: 'a test', ca: undefined, insecure: false, stallMs: 60_000,
  });
  closing.push(async () => {
    await client.close();
    server.closeAllConnections();
    server.close();
  });
  return client;
}

const NAMES = Array.from({ length: 2_500 }, (_, index) => `k${String(index).padStart(4, '0')}`);
const row = (name: string): object => ({ name, bytes: 1, hash: '', content_type: 'text/plain', last_modified: '2026-01-01T00:00:00.000000' });
const after = (query: URLSearchParams): string[] => NAMES.filter((name) => name > (query.get('marker') ?? ''));
const listed = async (client: SwiftClient): Promise<string[]> => (await all(listKeys(client, '', { root: '' }))).map(({ key }) => key);

test('a listing is whole where the cluster permits small pages only, and is asked for larger ones once', async () => {
  let refused = 0;
  const client = await clientOf((query, res) => {
    if (Number(query.get('limit')) <= 300) return void res.end(JSON.stringify(after(query).slice(0, Number(query.get('limit'))).map(row)));
    refused++;
    res.writeHead(412).end('Maximum limit is 300');
  });
  expect(await listed(client)).toEqual(NAMES);
  expect(refused).toBe(1);
});

test('a listing is whole where pages are smaller than was asked for', async () => {
  const client = await clientOf((query, res) => void res.end(JSON.stringify(after(query).slice(0, 1_000).map(row))));
  expect(await listed(client)).toEqual(NAMES);
});

test.each<[string, (res: ServerResponse) => void, RegExp]>([
  ['the same page again', (res) => void res.end(JSON.stringify(NAMES.slice(0, 1_000).map(row))), /where it does not belong/],
  ['no rows', (res) => void res.end('{"error":"later"}'), /cut short/],
  ['rows that are none', (res) => void res.end('[null]'), /cut short/],
  ['another 412', (res) => void res.writeHead(412).end('Bad delimiter'), /412: Bad delimiter/],
])('a listing fails for what is none: %s', async (_, answer, message) => {
  await expect(listed(await clientOf((_query, res) => answer(res)))).rejects.toThrow(message);
});

test('a manifest that is made of itself has an end', async () => {
  const body = JSON.stringify([{ name: '/images/itself', bytes: 1, hash: 'x', sub_slo: true }]);
  const headers = { 'x-static-large-object': 'True', etag: createHash('md5').update(body).digest('hex') };
  const client = await clientOf((_, res, { method }) => void res.writeHead(200, headers).end(method === 'HEAD' ? undefined : body));
  await expect(namesOfManifest(client, { name: 'itself', what: 'delete itself' })).rejects.toThrow('more than 10 others');
});
