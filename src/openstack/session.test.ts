/** The session against a Keystone of our own on a socket: when it asks, how often, and what it says of strange answers. */
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { makeAuthority, type Authority, type Leaf } from '../../test/services/certificates.ts';
import { attempts } from '../drivers/object-store/attempts.ts';
import { DriverError } from '../drivers/driver.ts';
import type { OpenStackAuth } from './auth.ts';
import { openStackSession, type OpenStackSession, type SessionOptions } from './session.ts';

const HOUR = 3_600_000;
/** Keystone's clock is a day behind ours. */
const KEYSTONE_MS = Date.UTC(2026, 5, 1);
const OUR_MS = KEYSTONE_MS + 24 * HOUR;
const SECRET = 'correct horse';

interface Asked {
  readonly method: string | undefined;
  readonly path: string | undefined;
  readonly body: unknown;
  readonly headers: IncomingMessage['headers'];
}

/** What the n-th question (from 0) is answered with; default: a token that holds an hour. */
type Reply = (response: ServerResponse, n: number) => void | Promise<void>;

class Keystone {
  readonly asked: Asked[] = [];
  /** Its own clock. */
  nowMs = KEYSTONE_MS;
  reply: Reply = (response, n) => this.grant(response, `token-${n}`);
  readonly server: Server;

  constructor(make: (listener: RequestListener) => Server = createServer) {
    this.server = make((request, response) => void this.#answer(request, response));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const text = Buffer.concat(chunks).toString();
    const n = this.asked.push({ method: request.method, path: request.url, headers: request.headers, body: text === '' ? undefined : JSON.parse(text) }) - 1;
    await this.reply(response, n);
  }

  grant(response: ServerResponse, token: string, { lifetimeMs = HOUR, catalog = CATALOG }: { readonly lifetimeMs?: number; readonly catalog?: unknown } = {}): void {
    const [issued, expires] = [this.nowMs, this.nowMs + lifetimeMs].map((ms) => new Date(ms).toISOString());
    response.writeHead(201, { 'x-subject-token': token, date: new Date(this.nowMs).toUTCString(), 'content-type': 'application/json' });
    response.end(JSON.stringify({ token: { issued_at: issued, expires_at: expires, catalog } }));
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.server.listen(0, '127.0.0.1', resolve));
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port; // listening on TCP
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise<void>((resolve) => this.server.close(() => resolve()));
  }
}

const CATALOG = [{
  type: 'object-store',
  endpoints: [
    { interface: 'public', region_id: 'one', url: 'https://swift.example.org/v1/AUTH_a/' },
    { interface: 'internal', region_id: 'one', url: 'http://10.0.0.1:8080/v1/AUTH_a' },
  ],
}];

const PASSWORD = (url: string): OpenStackAuth => ({
  kind: 'password', url, user: { name: 'registry', domain: { name: 'Default' } }, password: { reveal: () => SECRET }, project: { name: 'images', domain: { id: 'default' } },
});

/** A session, its Keystone, and time that passes on demand: waits pass at once, deadlines never. */
class World implements AsyncDisposable {
  readonly keystone: Keystone;
  readonly events: { readonly kind: string; readonly [field: string]: unknown }[] = [];
  nowMs = OUR_MS;
  readonly #sessions: OpenStackSession[] = [];

  private constructor(keystone: Keystone) {
    this.keystone = keystone;
  }

  static async start(make?: (listener: RequestListener) => Server): Promise<World> {
    const keystone = new Keystone(make);
    await keystone.listen();
    const world = new World(keystone);
    worlds.push(world);
    return world;
  }

  get url(): string {
    return `http://127.0.0.1:${this.keystone.port}`;
  }

  session({ auth = PASSWORD(`${this.url}/v3`), ...other }: Partial<SessionOptions> = {}): OpenStackSession {
    const retries = attempts({
      nowMs: () => this.nowMs, random: () => 0.5, store: 'Keystone', report: (event) => this.events.push(event),
      timers: { after: (ms, task) => {
        if (ms < 20_000) queueMicrotask(task);
        return () => undefined;
      } },
    });
    const session = openStackSession({
      auth, region: undefined, interface: 'public', ca: undefined, insecure: false, nowMs: () => this.nowMs, random: () => 0.5, retries,
      failed: (kind, message, more) => new DriverError(kind, message, more), ...other,
    });
    this.#sessions.push(session);
    return session;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const session of this.#sessions) await session.close();
    await this.keystone.close();
  }
}

const worlds: World[] = [];
afterEach(async () => {
  for (const world of worlds.splice(0)) await world[Symbol.asyncDispose]();
});

const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

async function failureOf(session: OpenStackSession): Promise<DriverError> {
  const error: unknown = await session.access().then(() => undefined, (reason: unknown) => reason);
  expect(error).toBeInstanceOf(DriverError);
  expect((error as Error).message).not.toContain(SECRET);
  return error as DriverError;
}

describe('what Keystone is asked', () => {
  const secret = { reveal: (): string => SECRET };
  const user = { name: 'registry', domain: { id: 'd1' } };
  const asUser = { user: { name: 'registry', domain: { id: 'd1' }, password: SECRET } };
  it.each<[string, (url: string) => OpenStackAuth, object]>([
    ['a password', (url) => ({ kind: 'password', url, user, password: secret, project: { name: 'images', domain: { name: 'e' } } }),
      { identity: { methods: ['password'], password: asUser }, scope: { project: { name: 'images', domain: { name: 'e' } } } }],
    ['a password, by ids', (url) => ({ kind: 'password', url, user: { id: 'u1' }, password: secret, project: { id: 'p1' } }),
      { identity: { methods: ['password'], password: { user: { id: 'u1', password: SECRET } } }, scope: { project: { id: 'p1' } } }],
    ['an application credential by id, without a scope', (url) => ({ kind: 'application-credential', url, credential: { id: 'a1' }, secret }),
      { identity: { methods: ['application_credential'], application_credential: { id: 'a1', secret: SECRET } } }],
    ['an application credential by name, without a scope', (url) => ({ kind: 'application-credential', url, credential: { name: 'a', user }, secret }),
      { identity: { methods: ['application_credential'], application_credential: { name: 'a', user: { name: 'registry', domain: { id: 'd1' } }, secret: SECRET } } }],
    ['a trust, without a project', (url) => ({ kind: 'trust', url, user, password: secret, trustId: { reveal: () => 't1' } }),
      { identity: { methods: ['password'], password: asUser }, scope: { 'OS-TRUST:trust': { id: 't1' } } }],
  ])('%s', async (_name, auth, body) => {
    const world = await World.start();
    for (const path of ['', '/', '/v3', '/v3/', '/v2.0', '/identity']) {
      await world.session({ auth: auth(`${world.url}${path}`) }).access();
      expect(world.keystone.asked.at(-1)).toMatchObject({ method: 'POST', path: `${path === '/identity' ? path : ''}/v3/auth/tokens`, body: { auth: body } });
      expect(world.keystone.asked.at(-1)?.body).toEqual({ auth: body });
    }
  });

  it('a Swift without Keystone', async () => {
    const world = await World.start();
    const url = `${world.url}/auth/v1.0`;
    world.keystone.reply = (response) => void response.writeHead(200, { 'x-storage-url': 'http://swift/v1/AUTH_test/', 'x-auth-token': 't', 'x-auth-token-expires': '100' }).end();
    const session = world.session({ auth: { kind: 'tempauth', url, username: 'test:tester', password: secret } });
    expect(await session.access()).toEqual({ url: 'http://swift/v1/AUTH_test', publicUrl: 'http://swift/v1/AUTH_test', token: 't' });
    expect(world.keystone.asked[0]).toMatchObject({ method: 'GET', path: '/auth/v1.0', headers: { 'x-auth-user': 'test:tester', 'x-auth-key': SECRET } });
    world.nowMs += 99_000;
    await session.access();
    expect(world.keystone.asked).toHaveLength(2);
  });

  it('the internal endpoint is ours, the public one is for clients', async () => {
    const world = await World.start();
    const access = await world.session({ interface: 'internal' }).access();
    expect(access).toEqual({ url: 'http://10.0.0.1:8080/v1/AUTH_a', publicUrl: 'https://swift.example.org/v1/AUTH_a', token: 'token-0' });
  });
});

describe('one login for all', () => {
  it('who ask at once', async () => {
    const world = await World.start();
    const session = world.session();
    const all = await Promise.all(Array.from({ length: 50 }, () => session.access()));
    expect(new Set(all.map(({ token }) => token))).toEqual(new Set(['token-0']));
    expect(world.keystone.asked).toHaveLength(1);
  });

  it('goes on when the one who asked first leaves', async () => {
    const world = await World.start();
    const session = world.session();
    const arrived = Promise.withResolvers<void>();
    const gate = Promise.withResolvers<void>();
    world.keystone.reply = async (response) => {
      arrived.resolve();
      await gate.promise;
      world.keystone.grant(response, 'late');
    };
    const first = new AbortController();
    const left = session.access({ signal: first.signal });
    const stays = session.access();
    await arrived.promise;
    first.abort(new Error('the client left'));
    await expect(left).rejects.toThrow('the client left');
    gate.resolve();
    expect((await stays).token).toBe('late');
    expect(world.keystone.asked).toHaveLength(1);
  });

  it('ends with the session', async () => {
    const world = await World.start();
    const session = world.session();
    const arrived = Promise.withResolvers<void>();
    world.keystone.reply = () => arrived.resolve();
    const waits = session.access().catch((error: unknown) => error);
    await arrived.promise;
    await session.close();
    expect(String(await waits)).toContain('this session with the object store is closed');
    await expect(session.access()).rejects.toThrow('this session with the object store is closed');
  });
});

describe('a token is renewed', () => {
  /** Renewals in the background are waited for by what they do. */
  async function tokenOnce(session: OpenStackSession, token: string): Promise<void> {
    while ((await session.access()).token !== token) await turn();
  }

  it('while it still holds, by the clock of Keystone, behind the back of who asks', async () => {
    const world = await World.start();
    const session = world.session();
    expect((await session.access()).token).toBe('token-0');
    world.nowMs += HOUR * 0.82; // 0.75 + half the jitter of 0.15 = 0.825
    expect((await session.access()).token).toBe('token-0');
    expect(world.keystone.asked).toHaveLength(1);
    world.nowMs += HOUR * 0.006;
    expect((await session.access()).token).toBe('token-0');
    await tokenOnce(session, 'token-1');
    expect(world.keystone.asked).toHaveLength(2);
  });

  it('before a request that would outlast it', async () => {
    const world = await World.start();
    const session = world.session();
    await session.access();
    world.nowMs += HOUR - 29_000;
    expect((await session.access()).token).toBe('token-1');
  });

  it.each([
    ['the Date of the answer, where issued_at is of a token from before', (response: ServerResponse, keystone: Keystone) => {
      keystone.nowMs = KEYSTONE_MS + HOUR / 2;
      response.writeHead(201, { 'x-subject-token': 't', date: new Date(keystone.nowMs).toUTCString() });
      response.end(JSON.stringify({ token: { issued_at: new Date(KEYSTONE_MS).toISOString(), expires_at: new Date(KEYSTONE_MS + HOUR).toISOString(), catalog: CATALOG } }));
    }],
    ['issued_at, where there is no Date', (response: ServerResponse) => {
      response.sendDate = false;
      response.writeHead(201, { 'x-subject-token': 't' });
      response.end(JSON.stringify({ token: { issued_at: new Date(KEYSTONE_MS).toISOString(), expires_at: new Date(KEYSTONE_MS + HOUR / 2).toISOString(), catalog: CATALOG } }));
    }],
  ])('counting from %s', async (_name, reply) => {
    const world = await World.start();
    world.keystone.reply = (response) => reply(response, world.keystone);
    const session = world.session();
    await session.access();
    world.nowMs += HOUR * 0.4;
    await session.access();
    expect(world.keystone.asked).toHaveLength(1);
    world.nowMs += HOUR * 0.1;
    await session.access();
    expect(world.keystone.asked).toHaveLength(2);
  });

  it('not before it is refused, where nothing says when it ends', async () => {
    const world = await World.start();
    world.keystone.reply = (response, n) => void response.writeHead(201, { 'x-subject-token': `t${n}` }).end(JSON.stringify({ token: { catalog: CATALOG } }));
    const session = world.session();
    const access = await session.access();
    world.nowMs += 1000 * HOUR;
    expect(await session.access()).toBe(access);
    session.refused(access);
    expect((await session.access()).token).toBe('t1');
  });

  it('in vain while Keystone is away: the old one is used to its end, then the failure is told', async () => {
    const world = await World.start();
    const session = world.session();
    await session.access();
    world.keystone.reply = (response) => void response.writeHead(503).end();
    world.nowMs += HOUR * 0.9;
    expect((await session.access()).token).toBe('token-0');
    while (world.keystone.asked.length < 6) await turn();
    // Enough of it after three more, once that went on for 5 s.
    world.nowMs += 5_000;
    while (!world.events.some(({ kind }) => kind === 'circuit-open')) {
      expect((await session.access()).token).toBe('token-0');
      world.nowMs += 10;
      await turn();
    }
    expect(world.keystone.asked).toHaveLength(9);
    world.nowMs += HOUR * 0.1;
    const { failure, message, answered } = await failureOf(session);
    expect([failure, answered]).toEqual(['retryable', true]);
    expect(message).toContain('Keystone');
    world.keystone.reply = (response) => world.keystone.grant(response, 'back');
    world.nowMs += 60_000;
    expect((await session.access()).token).toBe('back');
  });
});

describe('a token that the store refused', () => {
  it('is replaced, once for all who were refused', async () => {
    const world = await World.start();
    const session = world.session();
    const access = await session.access();
    world.nowMs += 60_000;
    session.refused(access);
    const [again] = await Promise.all([session.access(), session.access()]);
    session.refused(access);
    expect((await session.access()).token).toBe(again.token);
    expect(world.keystone.asked).toHaveLength(2);
  });

  it('as soon as it was given is not replaced with each request', async () => {
    const world = await World.start();
    const session = world.session();
    session.refused(await session.access());
    const { failure, answered, retryAfterMs, message } = await failureOf(session);
    expect([failure, answered, retryAfterMs]).toEqual(['retryable', true, 750]);
    expect(message).toBe(
      `the object store at https://swift.example.org/v1/AUTH_a refuses a token that Keystone at ${world.url}/v3 just gave for user "registry" of domain "Default" in project "images" of domain with id default; does it ask the same Keystone?`,
    );
    expect(world.keystone.asked).toHaveLength(1);
    world.nowMs += 750;
    const second = await session.access();
    expect(second.token).toBe('token-1');
    session.refused(second);
    expect((await failureOf(session)).retryAfterMs).toBe(1_500);
  });
});

describe('a refusal', () => {
  const error = (status: number, message: string): Reply => (response) => void response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify({ error: { code: status, message } }));
  const who = 'user "registry" of domain "Default" in project "images" of domain with id default';

  it.each<[string, Reply, string]>([
    ['401', error(401, 'The request you have made requires authentication.'),
      `Keystone at $URL/v3/auth/tokens refused ${who} (401, "The request you have made requires authentication."): the user name, its domain or the password is wrong, the user is disabled, or it has no role in that project`],
    ['401 that repeats the password', error(401, `wrong: ${SECRET}`), `Keystone at $URL/v3/auth/tokens refused ${who} (401, "wrong: ***"): the user name, its domain or the password is wrong, the user is disabled, or it has no role in that project`],
    ['403', error(403, 'no'), `Keystone at $URL/v3/auth/tokens refused ${who} (403, "no"): it may not have a token; ask whoever runs this Keystone`],
    ['400', error(400, 'odd'), `Keystone at $URL/v3/auth/tokens refused ${who} (400, "odd"): it does not take this kind of login, or not from us`],
    ['404', (response) => void response.writeHead(404).end('<html>'), 'there is no Keystone v3 at $URL/v3/auth/tokens (404); expected its URL in auth.url, such as https://keystone.example.org:5000/v3'],
    ['300', error(300, 'x'), '$URL/v3/auth/tokens answered a choice of versions (300); expected the URL of Keystone v3 itself in auth.url, such as https://keystone.example.org:5000/v3'],
    ['302', (response) => void response.writeHead(302, { location: 'https://elsewhere/' }).end(), '$URL/v3/auth/tokens answered a redirect to https://elsewhere/ (302); expected the URL of Keystone v3 itself in auth.url, such as https://keystone.example.org:5000/v3'],
    ['200 with a page', (response) => void response.writeHead(200).end('<html>hello</html>'), '$URL/v3/auth/tokens answered 200, but not as Keystone does (no X-Subject-Token); expected the URL of Keystone in auth.url'],
    ['201 without a token in its body', (response) => void response.writeHead(201, { 'x-subject-token': 't' }).end('null'), '$URL/v3/auth/tokens answered 201, but not as Keystone does (no token in the body); expected the URL of Keystone in auth.url'],
    ['a catalogue without Swift', (response) => void response.writeHead(201, { 'x-subject-token': 't' }).end(JSON.stringify({ token: { catalog: [{ type: 'identity', endpoints: [] }, 5] } })),
      `Keystone at $URL/v3 let ${who} in, but the catalogue has no service of type object-store; it has identity`],
    ['no catalogue', (response) => void response.writeHead(201, { 'x-subject-token': 't' }).end(JSON.stringify({ token: {} })),
      `Keystone at $URL/v3 let ${who} in, but the catalogue has no service of type object-store; it has no service at all: is the project right?`],
  ])('%s', async (_name, reply, expected) => {
    const world = await World.start();
    world.keystone.reply = reply;
    const { failure, message } = await failureOf(world.session());
    expect([failure, message]).toEqual(['permanent', expected.replaceAll('$URL', world.url)]);
    expect(world.keystone.asked).toHaveLength(1);
  });

  it('404 for a credential that is gone', async () => {
    const world = await World.start();
    world.keystone.reply = error(404, 'Could not find application credential: a1.');
    const auth: OpenStackAuth = { kind: 'application-credential', url: world.url, credential: { id: 'a1' }, secret: { reveal: () => SECRET } };
    expect((await failureOf(world.session({ auth }))).message).toContain('refused application credential "a1" (404, "Could not find application credential: a1."): its id, name or secret is wrong, it expired or was deleted');
  });

  it('is remembered for a while: Keystone locks out who fails too often', async () => {
    const world = await World.start();
    const session = world.session();
    world.keystone.reply = error(401, 'no');
    await failureOf(session);
    world.keystone.reply = (response) => world.keystone.grant(response, 'mended');
    expect((await failureOf(session)).failure).toBe('permanent');
    expect(world.keystone.asked).toHaveLength(1);
    world.nowMs += 30_000;
    expect((await session.access()).token).toBe('mended');
  });

  it.each<[string, (url: string) => OpenStackAuth, string]>([
    ['an application credential', (url) => ({ kind: 'application-credential', url, credential: { id: 'a1' }, secret: { reveal: () => SECRET } }), 'application credential "a1" (401, "no"): its id, name or secret is wrong, it expired or was deleted, or its user is disabled or lost its role'],
    ['a trust', (url) => ({ kind: 'trust', url, user: { id: 'u1' }, password: { reveal: () => SECRET }, trustId: { reveal: () => 'the-trust-id' } }), 'user with id u1 by a trust (401, "no"): the user name, its domain or the password is wrong, or the trust expired, was deleted, or is for another user'],
  ])('names %s', async (_name, auth, expected) => {
    const world = await World.start();
    world.keystone.reply = error(401, 'no');
    const { message } = await failureOf(world.session({ auth: auth(world.url) }));
    expect(message).toBe(`Keystone at ${world.url}/v3/auth/tokens refused ${expected}`);
  });

  it.each([
    [401, 'permanent', 'refused user "test:tester" (401): the name, expected as account:user, or the password is wrong'],
    [404, 'permanent', 'does not answer as TempAuth does (404); expected its URL in auth.url, such as https://swift.example.org/auth/v1.0'],
    [200, 'permanent', 'does not answer as TempAuth does (200); expected its URL in auth.url, such as https://swift.example.org/auth/v1.0'],
  ])('of TempAuth: %i', async (status, failure, expected) => {
    const world = await World.start();
    const url = `${world.url}/auth/v1.0`;
    world.keystone.reply = (response) => void response.writeHead(status).end();
    expect(await failureOf(world.session({ auth: { kind: 'tempauth', url, username: 'test:tester', password: { reveal: () => SECRET } } }))).toMatchObject({ failure, message: `${url} ${expected}` });
  });
});

describe('a Keystone in trouble is asked again', () => {
  it.each<[string, Reply, number]>([
    ['429 with Retry-After in seconds', (response) => void response.writeHead(429, { 'retry-after': '3' }).end(), 3_100],
    ['429 with Retry-After as a date', (response) => void response.writeHead(429, { 'retry-after': new Date(KEYSTONE_MS + 5_000).toUTCString(), date: new Date(KEYSTONE_MS).toUTCString() }).end(), 5_100],
    ['503', (response) => void response.writeHead(503).end('{'), 100],
    ['500', (response) => void response.writeHead(500).end(JSON.stringify({ error: { message: 'oops' } })), 100],
    ['a connection that breaks', (response) => void response.destroy(), 100],
    ['an answer that ends early', (response) => {
      response.writeHead(201, { 'x-subject-token': 't', 'content-length': '1000' });
      response.write('{"token":');
      setImmediate(() => response.destroy());
    }, 100],
  ])('after %s', async (_name, reply, waitMs) => {
    const world = await World.start();
    world.keystone.reply = (response, n) => (n === 0 ? reply(response, n) : world.keystone.grant(response, 'well'));
    expect((await world.session().access()).token).toBe('well');
    expect(world.events).toMatchObject([{ kind: 'retry', attempt: 1, waitMs }]);
  });

  it('where nobody listens', async () => {
    const world = await World.start();
    const { url } = world;
    await world.keystone.close();
    const { failure, message } = await failureOf(world.session({ auth: PASSWORD(url) }));
    expect(failure).toBe('retryable');
    expect(message).toMatch(/^127\.0\.0\.1:\d+ cannot be reached: connect ECONNREFUSED .* \(gave up after 5 attempts in 0 s\)$/);
  });
});

describe('TLS', () => {
  let folder = '';
  let authority: Authority;
  let leaf: Leaf;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'umbra-session-'));
    authority = await makeAuthority(folder);
    leaf = await authority.issue('keystone');
  });
  afterAll(() => rmSync(folder, { recursive: true }));
  const secure = (listener: RequestListener): Server => createSecureServer({ cert: readFileSync(leaf.certFile), key: readFileSync(leaf.keyFile) }, listener);

  it.each([
    ['the authority that ca names is trusted', (pem: string): Partial<SessionOptions> => ({ ca: pem })],
    ['insecure trusts anybody', (): Partial<SessionOptions> => ({ insecure: true })],
  ])('%s', async (_name, options) => {
    const world = await World.start(secure);
    const auth = PASSWORD(world.url.replace('http:', 'https:'));
    expect((await world.session({ auth, ...options(authority.pem) }).access()).token).toBe('token-0');
  });

  it('nobody else is', async () => {
    const world = await World.start(secure);
    const { failure, message } = await failureOf(world.session({ auth: PASSWORD(world.url.replace('http:', 'https:')) }));
    expect(failure).toBe('permanent');
    expect(message).toMatch(/^the certificate of 127\.0\.0\.1:\d+ is not trusted \([A-Z_]+\); name the authority that signed it in storage\.ca$/);
    expect(world.keystone.asked).toEqual([]);
  });

  it('http where https was expected, and the other way round', async () => {
    const plain = await World.start();
    expect((await failureOf(plain.session({ auth: PASSWORD(plain.url.replace('http:', 'https:')) }))).message).toMatch(/expected http:\/\/ in the URL\?/);
    const world = await World.start(secure);
    expect((await failureOf(world.session())).message).toMatch(/expected https:\/\/ in the URL\?/);
  });
});

describe('a credential in a file', () => {
  let folder = '';
  beforeAll(() => void (folder = mkdtempSync(join(tmpdir(), 'umbra-credential-'))));
  afterAll(() => rmSync(folder, { recursive: true }));

  const put = (path: string, text: string): string => {
    writeFileSync(`${path}.new`, text);
    renameSync(`${path}.new`, path);
    return path;
  };
  const words = (world: World, password: string): string => JSON.stringify({ url: `${world.url}/v3`, username: 'node', password, project: 'images' });
  /** A Keystone that knows one password. */
  const knows = (world: World, password: string): void => {
    world.keystone.reply = (response, n) => {
      if (JSON.stringify(world.keystone.asked[n]?.body).includes(`"password":"${password}"`)) world.keystone.grant(response, `${password}-${n}`);
      else response.writeHead(401).end('{}');
    };
  };

  it('that changes is used by and by, while the old token holds', async () => {
    const world = await World.start();
    const path = put(join(folder, 'changes'), words(world, 'one'));
    knows(world, 'one');
    const session = world.session({ auth: { kind: 'file', path } });
    expect((await session.access()).token).toBe('one-0');
    knows(world, 'two');
    put(path, words(world, 'two'));
    expect((await session.access()).token).toBe('one-0');
    world.nowMs += 2_000;
    while ((await session.access()).token !== 'two-1') await turn();
    world.nowMs += 10_000;
    await session.access();
    expect(world.keystone.asked).toHaveLength(2);
  });

  it('that was refused is read again when it changed, without the pause of a login that failed', async () => {
    const world = await World.start();
    const path = put(join(folder, 'refused'), words(world, 'one'));
    knows(world, 'two');
    const session = world.session({ auth: { kind: 'file', path } });
    expect(await failureOf(session)).toMatchObject({ failure: 'permanent', message: expect.stringContaining('user "node" of domain "Default"') as string });
    await failureOf(session);
    expect(world.keystone.asked).toHaveLength(1);
    put(path, words(world, 'two'));
    const access = await session.access();
    expect(access.token).toBe('two-1');
    // The store refuses a token that was just given, since what it stands for is gone.
    session.refused(access);
    knows(world, 'three');
    put(path, words(world, 'three'));
    expect((await session.access()).token).toBe('three-2');
  });

  it('may come to be later', async () => {
    const world = await World.start();
    const path = join(folder, 'later');
    const session = world.session({ auth: { kind: 'file', path } });
    expect((await failureOf(session)).message).toBe(`the credential ${path} cannot be read: there is no such file`);
    put(path, words(world, 'one'));
    expect((await session.access()).token).toBe('token-0');
  });

  it.each([
    [`{"password": "${SECRET}"`, 'expected JSON'],
    [`["${SECRET}"]`, 'expected a map of url, '],
    [`{"passwort": "${SECRET}"}`, 'it has "passwort"; expected url, '],
    ['{"url": "http://k", "password": 7}', 'password: expected text'],
    [`{"password": "${SECRET}"}`, 'url: missing: where Keystone answers'],
    [`{"url": "http://k", "username": "u", "password": "${SECRET}", "trustId": "t", "project": "p"}`, 'project: a trust has a project of its own'],
  ])('%s is none', async (text, problem) => {
    const world = await World.start();
    const path = put(join(folder, 'none'), text);
    const { failure, message } = await failureOf(world.session({ auth: { kind: 'file', path } }));
    expect([failure, message]).toEqual(['permanent', expect.stringContaining(`the credential ${path} cannot be used: ${problem}`)]);
  });
});
