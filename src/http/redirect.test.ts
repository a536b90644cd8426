import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ListenerConfig, Redirect } from '../config/config.ts';
import { content } from '../content/content.ts';
import type { Generation, Repo, ViewUid } from '../content/keys.ts';
import type { Driver } from '../drivers/driver.ts';
import { memoryDriver } from '../drivers/memory/memory.ts';
import { digestOf } from '../oci/digest.ts';
import type { Name } from '../oci/name.ts';
import type { Registry } from '../registry/registry.ts';
import { oneStore, type Stores } from '../registry/stores.ts';
import type { Bodies } from './bodies.ts';
import { trustedProxies } from './client-address.ts';
import { Exchange } from './exchange.ts';
import { getBlob } from './oci/blobs.ts';
import { redirects } from './redirect.ts';
import { serve, type TestServer } from './server.fixture.ts';
import type { Target } from './target.ts';

const BYTES = Buffer.alloc(1024 * 1024, 1);
const DIGEST = digestOf(BYTES);
const SMALL = Buffer.alloc(1024 * 1024 - 1, 1);
const GENERATION = 'gen1' as Generation;
const REPO: Repo = { view: 'main' as ViewUid, name: 'docker.io/library/x' as Name };
const LISTENER = { publicUrl: undefined } as ListenerConfig; // what else it has does not matter here

/** A store that signs, as `sign` says. */
async function storeWith(sign: (key: string) => Promise<string | undefined>): Promise<Stores> {
  const memory = memoryDriver();
  const driver: Driver = new Proxy(memory, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key);
      return key === 'redirect' ? sign : typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
  const held = content({ driver, nowMs: Date.now, newId: () => 'id', staleMs: 0, tell: async () => undefined, manifestCacheBytes: 1024 });
  for (const bytes of [BYTES, SMALL]) await held.blobs.storeBytes(digestOf(bytes), GENERATION, bytes);
  return oneStore({ driver, content: held });
}

interface Asked {
  readonly whom?: Redirect;
  readonly peer?: string;
  readonly headers?: IncomingMessage['headers'];
  readonly bytes?: Buffer;
  readonly generation?: string;
  readonly publicUrl?: string;
  readonly url?: string;
}

async function askedWith({ whom = 'always', peer = '10.1.2.3', headers = {}, bytes = BYTES, generation = GENERATION, publicUrl, url = 'http://store.example' }: Asked): Promise<string | undefined> {
  const stores = await storeWith(async (key) => `${url}/${key}?temp_url_sig=secret`);
  const socket = { remoteAddress: peer, localAddress: '10.0.0.1', localPort: 5000 } as Socket; // what is looked at
  const req = { method: 'GET', url: '/', headers: { host: 'registry.example:5000', ...headers }, socket } as unknown as IncomingMessage; // the same
  const x = new Exchange(req, {} as ConstructorParameters<typeof Exchange>[1], { ...LISTENER, publicUrl }, 0, 0, ''); // nothing is answered
  return await redirects(stores, () => whom, trustedProxies(['127.0.0.1'])).of(x, REPO, digestOf(bytes), { generation: generation as Generation, size: bytes.length });
}

describe('a client that asks for a blob', () => {
  test.each<[string, Asked]>([
    ['wherever it is', {}],
    ['from a network of the list', { whom: ['192.0.2.0/24', '10.0.0.0/8'] }],
    ['by IPv6', { whom: ['fd00::/8'], peer: 'fd00::7' }],
    ['from there behind a trusted proxy', { whom: ['10.0.0.0/8'], peer: '127.0.0.1', headers: { 'x-forwarded-for': '203.0.113.9, 10.9.9.9' } }],
    ['for one range', { headers: { range: 'bytes=5-99' } }],
    ['for what follows a byte', { headers: { range: 'bytes=5-' } }],
    ['for a range of the very blob', { headers: { range: 'bytes=5-99', 'if-range': `"${DIGEST}"` } }],
    ['by HTTPS, of a store that speaks it too', { publicUrl: 'https://registry.example', url: 'https://store.example' }],
    ['with a token that it keeps to itself', { headers: { authorization: 'Bearer x' } }],
  ])('is sent to the store: %s', async (_, asked) => {
    expect(await askedWith(asked)).toMatch(/^https?:\/\/store\.example\/blobs\/sha256\/[0-9a-f]{2}\/[0-9a-f]{64}\/data\/gen1\?temp_url_sig=secret$/);
  });

  test.each<[string, Asked]>([
    ['where nobody is', { whom: 'never' }],
    ['from elsewhere', { whom: ['192.0.2.0/24'] }],
    ['whose proxy nobody trusts', { whom: ['10.0.0.0/8'], peer: '203.0.113.1', headers: { 'x-forwarded-for': '10.9.9.9' } }],
    ['from elsewhere behind a trusted proxy', { whom: ['127.0.0.0/8'], peer: '127.0.0.1', headers: { 'x-forwarded-for': '203.0.113.9' } }],
    ['for a small one', { bytes: SMALL }],
    ['for several ranges', { headers: { range: 'bytes=0-1,5-9' } }],
    ['for a range from the end, which stores read differently', { headers: { range: 'bytes=-5' } }],
    ['for a range of what it had from another download', { headers: { range: 'bytes=5-99', 'if-range': '"else"' } }],
    ['on a condition that the store would not know', { headers: { 'if-match': `"${DIGEST}"` } }],
    ['by HTTPS, of a store without', { publicUrl: 'https://registry.example' }],
    ['by HTTPS to a trusted proxy, of a store without', { peer: '127.0.0.1', headers: { 'x-forwarded-proto': 'https' } }],
    ['with a token that would reach the store', { headers: { authorization: 'Bearer x', host: 'store.example:5000' } }],
    ['whose bytes went elsewhere', { generation: 'gen0' }],
  ])('is served from here: %s', async (_, asked) => {
    expect(await askedWith(asked)).toBeUndefined();
  });
});

describe('the answer', () => {
  let server: TestServer;
  let sign: (key: string) => Promise<string | undefined>;

  beforeEach(async () => {
    const stores = await storeWith(async (key) => sign(key));
    const found = { kind: 'stored', repo: REPO, link: { generation: GENERATION, size: BYTES.length }, answer: { from: 'view', view: 'main' } };
    const registry = { stores, resolve: { blob: async () => found } } as unknown as Registry; // what a GET of a blob uses
    const bodies = { sendSource: async (x: Exchange) => void x.res.end(BYTES) } as unknown as Bodies; // not what is tried here
    const sent = redirects(stores, () => 'always', trustedProxies([]));
    const target = { name: REPO.name, view: { id: 'main' } } as unknown as Target; // for errors only
    server = await serve(async (req, res) => getBlob(new Exchange(req, res, LISTENER, 0, 0, ''), target, DIGEST, registry, bodies, sent));
  });
  afterEach(async () => server.close());

  async function ask(headers: Record<string, string> = {}): Promise<Response> {
    return fetch(`http://127.0.0.1:${server.port}/`, { redirect: 'manual', headers });
  }

  test('is 307, without a body, not to be kept', async () => {
    sign = async (key) => `http://store.example/${key}?temp_url_sig=secret`;
    const answer = await ask();
    expect([answer.status, await answer.text()]).toEqual([307, '']);
    expect(Object.fromEntries(answer.headers)).toMatchObject({
      location: expect.stringMatching(/^http:\/\/store\.example\/blobs\/.*secret$/), 'docker-content-digest': DIGEST, 'cache-control': 'no-store', 'content-length': '0',
    });
  });

  test('is 304 where the client has it', async () => {
    sign = async () => 'http://store.example/';
    expect((await ask({ 'if-none-match': `"${DIGEST}"` })).status).toBe(304);
  });

  test('is the blob where the store signs nothing, or fails to', async () => {
    sign = async () => undefined;
    expect((await ask()).status).toBe(200);
    sign = async () => Promise.reject(new Error('no token'));
    expect((await ask()).status).toBe(200);
  });
});
