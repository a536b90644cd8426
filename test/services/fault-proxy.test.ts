/** The fault proxy itself, between undici and a small store on loopback: passes bytes on exactly, and does each fault it names. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Agent, request } from 'undici';
import { FaultProxy, type FaultProxyOptions } from './fault-proxy.ts';
import { seededRandom, type Fault, type RuleOptions } from './fault-rules.ts';

const BODY = Buffer.from(Array.from({ length: 300_000 }, (_, index) => (index * 7) % 251));

/** Objects by path, Swift's JSON listing of a container, and what it saw. */
class SmallStore {
  readonly seen: { readonly method: string; readonly url: string; readonly rawHeaders: readonly string[]; body: Buffer; complete: boolean }[] = [];
  readonly objects = new Map<string, Buffer>();
  /** Requests that ended too early. */
  broken = 0;
  readonly #server: Server = createServer((asked, answer) => {
    void this.#answer(asked).then(
      ({ status, body, headers = {} }) => {
        answer.writeHead(status, { 'content-length': String(body.length), 'X-Store': 'Small', ...headers });
        answer.end(asked.method === 'HEAD' ? undefined : body);
      },
      () => {
        this.broken += 1;
        answer.destroy();
      },
    );
  });

  async listen(): Promise<void> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }

  async #answer(asked: IncomingMessage): Promise<{ status: number; body: Buffer; headers?: Record<string, string> }> {
    const seen = { method: asked.method ?? '', url: asked.url ?? '', rawHeaders: asked.rawHeaders, body: Buffer.alloc(0), complete: false };
    this.seen.push(seen);
    for await (const chunk of asked as AsyncIterable<Buffer>) seen.body = Buffer.concat([seen.body, chunk]);
    seen.complete = true;
    const { pathname, searchParams } = new URL(seen.url, this.url);
    if (seen.method === 'PUT') {
      this.objects.set(pathname, seen.body);
      return { status: 201, body: Buffer.alloc(0) };
    }
    if (seen.method === 'DELETE') return { status: this.objects.delete(pathname) ? 204 : 404, body: Buffer.alloc(0) };
    if (pathname === '/v3/auth/tokens') return { status: 201, body: Buffer.from('{"url":"http://swift:8080/v1"}'), headers: { 'content-type': 'application/json' } };
    if (/^\/v1\/[^/]+\/[^/]+$/.test(pathname)) return this.#listing(`${pathname}/`, searchParams);
    const body = this.objects.get(pathname);
    return body === undefined ? { status: 404, body: Buffer.from('none') } : { status: 200, body };
  }

  #listing(root: string, asked: URLSearchParams): { status: number; body: Buffer; headers: Record<string, string> } {
    const prefix = asked.get('prefix') ?? '';
    const names = [...this.objects.keys()].filter((path) => path.startsWith(root)).map((path) => path.slice(root.length));
    const shown = new Map<string, object>();
    for (const name of names.filter((one) => one.startsWith(prefix)).toSorted()) {
      const cut = asked.get('delimiter') === '/' ? name.indexOf('/', prefix.length) : -1;
      if (cut < 0) shown.set(name, { name, bytes: this.objects.get(root + name)?.length });
      else shown.set(name.slice(0, cut + 1), { subdir: name.slice(0, cut + 1) });
    }
    const page = [...shown].filter(([name]) => name > (asked.get('marker') ?? '')).slice(0, Number(asked.get('limit') ?? 10_000));
    return { status: 200, body: Buffer.from(JSON.stringify(page.map(([, entry]) => entry))), headers: { 'content-type': 'application/json; charset=utf-8' } };
  }
}

let store: SmallStore;
let proxy: FaultProxy;
let agent: Agent;
let nowMs = 0;

const start = async (options: Partial<FaultProxyOptions> = {}): Promise<void> => {
  await proxy?.[Symbol.asyncDispose]();
  proxy = await FaultProxy.start({ origin: store.url, store: 'swift', clock: () => nowMs, ...options });
};

beforeEach(async () => {
  store = new SmallStore();
  await store.listen();
  proxy = await FaultProxy.start({ origin: store.url, store: 'swift', clock: () => nowMs });
  agent = new Agent();
});
afterEach(async () => {
  await agent.destroy();
  await proxy[Symbol.asyncDispose]();
  await store.close();
});

interface Answered {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
}

async function call(method: 'GET' | 'HEAD' | 'PUT' | 'DELETE' | 'POST', path: string, options: { readonly body?: Buffer; readonly headers?: Record<string, string>; readonly signal?: AbortSignal } = {}): Promise<Answered> {
  const { statusCode, headers, body } = await request(`${proxy.url}${path}`, { dispatcher: agent, method, ...options });
  return { status: statusCode, headers, body: Buffer.from(await body.arrayBuffer()) };
}

const put = (path: string, body: Buffer = BODY): Promise<Answered> => call('PUT', path, { body });

/** The error's code, as undici tells it. */
async function brokenBy(calling: Promise<unknown>): Promise<string> {
  const error = await calling.then(
    () => expect.fail('expected a broken connection'),
    (reason: unknown) => reason,
  );
  return error instanceof Error && 'code' in error ? String(error.code) : String(error);
}

describe('without a rule', () => {
  test('bytes and headers pass as they are, the host included', async () => {
    expect((await call('PUT', '/v1/a/c/x%20y?z=%2F', { body: BODY, headers: { Host: 'signed.example:1', 'X-Some': 'Thing' } })).status).toBe(201);
    const [seen] = store.seen;
    expect(seen?.url).toBe('/v1/a/c/x%20y?z=%2F');
    expect(seen?.body.equals(BODY)).toBe(true);
    const headers = new Map(Array.from({ length: (seen?.rawHeaders.length ?? 0) / 2 }, (_, at) => [seen?.rawHeaders[2 * at], seen?.rawHeaders[2 * at + 1]]));
    expect(headers.get('X-Some')).toBe('Thing');
    expect([...headers].filter(([name]) => /^host$/i.test(name ?? '')).map(([, value]) => value)).toEqual(['signed.example:1']);
    const got = await call('GET', '/v1/a/c/x%20y');
    expect(got.body.equals(BODY)).toBe(true);
    expect(got.headers).toMatchObject({ 'x-store': 'Small', 'content-length': String(BODY.length) });
    const head = await call('HEAD', '/v1/a/c/x%20y');
    expect([head.status, head.headers['content-length'], head.body.length]).toEqual([200, String(BODY.length), 0]);
    expect((await call('DELETE', '/v1/a/c/x%20y')).status).toBe(204);
    expect((await call('GET', '/v1/a/c/x%20y')).status).toBe(404);
    expect(proxy.requests).toBe(5);
  });

  test('bodies without a length pass, and many requests beside each other', async () => {
    await Promise.all(
      Array.from({ length: 30 }, async (_, index) => {
        const bytes = BODY.subarray(index, 100_000 + index * 1000);
        const { statusCode, body } = await request(`${proxy.url}/v1/a/c/${index}`, {
          dispatcher: agent,
          method: 'PUT',
          body: Readable.from(pieces(bytes)),
        });
        await body.dump();
        expect(statusCode).toBe(201);
        expect((await call('GET', `/v1/a/c/${index}`)).body.equals(bytes)).toBe(true);
      }),
    );
  });

  test('a client that leaves in the midst of a body leaves the store in the midst of it too', async () => {
    const leaving = new AbortController();
    const body = Readable.from(
      (async function* endless() {
        yield BODY;
        await expect.poll(() => store.seen[0]?.body.length).toBe(BODY.length);
        leaving.abort(new Error('the client left'));
      })(),
    );
    const headers = { 'content-length': String(2 * BODY.length) };
    await expect(request(`${proxy.url}/v1/a/c/x`, { dispatcher: agent, method: 'PUT', body, headers, signal: leaving.signal })).rejects.toThrow('the client left');
    await expect.poll(() => store.broken).toBe(1);
    expect(store.objects.has('/v1/a/c/x')).toBe(false);
  });
});

describe('faults', () => {
  test.each([500, 502, 503, 504, 408, 429, 498])('status %i is answered before the store hears of it', async (status) => {
    const rule = proxy.add({ fault: { kind: 'status', status, retryAfterSeconds: 3 } });
    const answer = await put('/v1/a/c/x');
    expect([answer.status, answer.headers['retry-after']]).toEqual([status, '3']);
    expect((await call('HEAD', '/v1/a/c/x')).status).toBe(status);
    expect(store.seen).toEqual([]);
    expect(rule.happened).toBe(2);
  });

  test('a status may come though all was done', async () => {
    proxy.add({ fault: { kind: 'status', status: 503, done: true }, match: { methods: ['PUT'] } });
    expect((await put('/v1/a/c/x')).status).toBe(503);
    expect((await call('GET', '/v1/a/c/x')).body.equals(BODY)).toBe(true);
  });

  test('a lost response: the store did it, the client hears nothing', async () => {
    const rule = proxy.add({ fault: { kind: 'lost' }, when: { first: 1 } });
    expect(await brokenBy(put('/v1/a/c/x'))).toMatch(/ECONNRESET|UND_ERR_SOCKET/);
    expect(rule.happened).toBe(1);
    expect((await call('GET', '/v1/a/c/x')).body.equals(BODY)).toBe(true);
  });

  test('a reset of the request keeps it from the store', async () => {
    proxy.add({ fault: { kind: 'reset', at: 'request' }, when: { first: 1 } });
    expect(await brokenBy(put('/v1/a/c/x'))).toMatch(/ECONNRESET|EPIPE|UND_ERR_SOCKET/);
    expect(store.seen).toEqual([]);
  });

  test('a reset in a request body leaves the store with half of it', async () => {
    const rule = proxy.add({ fault: { kind: 'reset', at: 'request body' }, when: { first: 1 } });
    expect(await brokenBy(put('/v1/a/c/x'))).toMatch(/ECONNRESET|EPIPE|UND_ERR_SOCKET/);
    expect(rule.happened).toBe(1);
    expect((await put('/v1/a/c/y')).status).toBe(201);
    expect(store.objects.has('/v1/a/c/x')).toBe(false);
    expect(store.seen[0]).toMatchObject({ url: '/v1/a/c/x', complete: false });
  });

  test.each<Fault>([{ kind: 'reset', at: 'response body' }, { kind: 'truncated', end: 'closed' }])('half a body is told from a whole one: %j', async (fault) => {
    await put('/v1/a/c/x');
    const rule = proxy.add({ fault, when: { first: 1 } });
    expect(await brokenBy(call('GET', '/v1/a/c/x'))).toMatch(/ECONNRESET|UND_ERR_SOCKET/);
    expect(rule.happened).toBe(1);
    expect((await call('GET', '/v1/a/c/x')).body.equals(BODY)).toBe(true);
  });

  test('a body that ends cleanly too early looks whole', async () => {
    await put('/v1/a/c/x');
    const rule = proxy.add({ fault: { kind: 'truncated', end: 'clean' } });
    const { headers, body } = await call('GET', '/v1/a/c/x');
    expect(headers['content-length']).toBeUndefined();
    expect(body.equals(BODY.subarray(0, BODY.length / 2))).toBe(true);
    expect(rule.happened).toBe(1);
  });

  test('a flipped bit, on the way there and back', async () => {
    const rule = proxy.add({ fault: { kind: 'corrupted', body: 'request' }, match: { methods: ['PUT'] } });
    await put('/v1/a/c/x');
    expect(rule.happened).toBe(1);
    const kept = store.objects.get('/v1/a/c/x') ?? Buffer.alloc(0);
    expect(differing(kept, BODY)).toEqual([BODY.length / 2]);
    rule.stop();
    proxy.add({ fault: { kind: 'corrupted', body: 'response' }, match: { methods: ['GET'] } });
    expect(differing((await call('GET', '/v1/a/c/x')).body, kept)).toEqual([BODY.length / 2]);
  });

  test('half a body and silence after it, until the client leaves', async () => {
    proxy.add({ fault: { kind: 'silence', at: 'response body' } });
    await put('/v1/a/c/x');
    const leaving = new AbortController();
    const { body } = await request(`${proxy.url}/v1/a/c/x`, { dispatcher: agent, signal: leaving.signal });
    let read = 0;
    const reading = (async () => {
      for await (const chunk of body as AsyncIterable<Buffer>) {
        read += chunk.length;
        if (read >= BODY.length / 2) leaving.abort(new Error('the client left'));
      }
    })();
    await expect(reading).rejects.toThrow('the client left');
    expect(read).toBe(BODY.length / 2);
  });

  test('silence lasts until the client leaves', async () => {
    const rule = proxy.add({ fault: { kind: 'silence', at: 'answer' } });
    const leaving = new AbortController();
    const calling = call('PUT', '/v1/a/c/x', { body: BODY, signal: leaving.signal });
    calling.catch(() => undefined);
    await expect.poll(() => rule.happened).toBe(1);
    leaving.abort(new Error('the client left'));
    await expect(calling).rejects.toThrow('the client left');
    expect(store.seen).toEqual([]);
  });

  test('latency goes together with another fault', async () => {
    const latency = proxy.add({ fault: { kind: 'latency', ms: 1 } });
    proxy.add({ fault: { kind: 'status', status: 500 } });
    expect((await call('GET', '/v1/a/c/x')).status).toBe(500);
    expect(latency.happened).toBe(1);
  });

  test('the catalogue leads where it is told to', async () => {
    await start({ store: 'keystone', replace: new Map([['http://swift:8080', 'http://127.0.0.1:99']]) });
    const { body, headers } = await call('POST', '/v3/auth/tokens', { body: Buffer.from('{}') });
    expect(body.toString()).toBe('{"url":"http://127.0.0.1:99/v1"}');
    expect(headers['content-length']).toBe(String(body.length));
  });
});

describe('when', () => {
  const statuses = async (rule: Omit<RuleOptions, 'fault'>, paths: readonly string[]): Promise<number[]> => {
    proxy.add({ ...rule, fault: { kind: 'status', status: 503 } });
    const answered: number[] = [];
    for (const path of paths) answered.push((await call('GET', path)).status);
    return answered;
  };

  test('each nth', async () => expect(await statuses({ when: { every: 3 } }, Array(7).fill('/x'))).toEqual([404, 404, 503, 404, 404, 503, 404]));
  test('the first', async () => expect(await statuses({ when: { first: 2 } }, Array(4).fill('/x'))).toEqual([503, 503, 404, 404]));
  test('once per url', async () => expect(await statuses({ when: 'once per url' }, ['/x', '/x', '/y', '/x', '/y'])).toEqual([503, 404, 503, 404, 404]));
  test('by chance, as the seed says, and never too often in a row', async () => {
    const chances = async (seed: number): Promise<number[]> => {
      await start({ seed });
      return statuses({ when: { probability: 0.7, inARow: 3 } }, Array(60).fill('/x'));
    };
    const first = await chances(5);
    expect(await chances(5)).toEqual(first);
    expect(await chances(6)).not.toEqual(first);
    expect(first.join(' ')).not.toContain('503 503 503 503');
    expect(first.filter((status) => status === 503).length).toBeGreaterThan(20);
  });
  test('only what matches', async () => {
    proxy.add({ fault: { kind: 'status', status: 503 }, match: { methods: ['GET'], path: /x$/, query: /^$/, listing: false } });
    const asked = [await call('GET', '/x'), await call('GET', '/x?y'), await call('HEAD', '/x'), await call('GET', '/y'), await call('GET', '/v1/a/x')];
    expect(asked.map(({ status }) => status)).toEqual([503, 404, 404, 404, 200]);
  });
  test('a rule that was stopped strikes no more, until it is resumed', async () => {
    const rule = proxy.add({ fault: { kind: 'status', status: 503 } });
    rule.stop();
    expect((await call('GET', '/x')).status).toBe(404);
    rule.resume();
    expect((await call('GET', '/x')).status).toBe(503);
    expect(proxy.report()).toContain('1 × status 503');
  });
  test('numbers follow from the seed and spread', () => {
    const random = seededRandom(1);
    const drawn = Array.from({ length: 1000 }, random);
    expect(drawn.every((one) => one >= 0 && one < 1)).toBe(true);
    expect(Math.abs(drawn.reduce((sum, one) => sum + one, 0) / 1000 - 0.5)).toBeLessThan(0.05);
  });
});

describe('listings', () => {
  const names = async (query = ''): Promise<string[]> => {
    const { body } = await call('GET', `/v1/a/c?format=json${query}`);
    return (JSON.parse(body.toString()) as { name?: string; subdir?: string }[]).map(({ name, subdir }) => name ?? subdir ?? '');
  };
  const writeAll = async (...keys: readonly string[]): Promise<void> => {
    for (const key of keys) await put(`/v1/a/c/${key}`, Buffer.from(key));
  };

  test('as they stood before the last writes', async () => {
    const rule = proxy.add({ fault: { kind: 'stale listing', writes: 3 }, match: { listing: true } });
    await writeAll('a', 'b', 'd/1', 'd/2');
    await call('DELETE', '/v1/a/c/a');
    await put('/v1/a/c/b', Buffer.from('longer'));
    await writeAll('c/1');
    // Undone: the deletion of a, the second b, c/1.
    expect(await names()).toEqual(['a', 'b', 'd/1', 'd/2']);
    expect(await names('&delimiter=/')).toEqual(['a', 'b', 'd/']);
    expect(await names('&limit=2')).toEqual(['a', 'b']);
    expect(await names('&limit=2&marker=b')).toEqual(['d/1', 'd/2']);
    expect(await names('&prefix=c/')).toEqual([]);
    expect(JSON.parse((await call('GET', '/v1/a/c?format=json&prefix=b')).body.toString())).toEqual([{ name: 'b', bytes: 1 }]);
    expect(rule.happened).toBeGreaterThan(4);
    rule.stop();
    expect(await names()).toEqual(['b', 'c/1', 'd/1', 'd/2']);
  });

  test('without what was written in the last period', async () => {
    const rule = proxy.add({ fault: { kind: 'omitting listing', ms: 1000 }, match: { listing: true } });
    await writeAll('a', 'b/1');
    expect(await names()).toEqual([]);
    nowMs += 1000;
    await writeAll('b/2', 'c/1', 'd');
    expect(await names()).toEqual(['a', 'b/1']);
    expect(await names('&delimiter=/')).toEqual(['a', 'b/']);
    expect(await names('&limit=1')).toEqual(['a']);
    nowMs += 1000;
    expect(await names()).toEqual(['a', 'b/1', 'b/2', 'c/1', 'd']);
    expect(rule.happened).toBe(3);
  });

  test('in XML too', async () => {
    await start({ store: 's3' });
    const xml = '<ListBucketResult><Contents><Key>a&amp;b</Key><Size>1</Size></Contents><Contents><Key>new</Key><Size>1</Size></Contents><CommonPrefixes><Prefix>n/</Prefix></CommonPrefixes></ListBucketResult>';
    store.objects.set('/bucket', Buffer.from(xml));
    proxy.add({ fault: { kind: 'omitting listing', ms: 1000 } });
    await put('/bucket/a&b');
    nowMs += 1000;
    await put('/bucket/new');
    await put('/bucket/n/1');
    const { body } = await call('GET', '/bucket?list-type=2');
    expect(body.toString()).toBe('<ListBucketResult><Contents><Key>a&amp;b</Key><Size>1</Size></Contents></ListBucketResult>');
    expect(() => proxy.add({ fault: { kind: 'stale listing', writes: 1 } })).toThrow('Swift');
  });
});

function* pieces(bytes: Buffer): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += 7_777) yield bytes.subarray(at, at + 7_777);
}

function differing(a: Buffer, b: Buffer): number[] {
  expect(a.length).toBe(b.length);
  return Array.from(a.keys()).filter((at) => a[at] !== b[at]);
}
