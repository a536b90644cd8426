/** The intercepting proxy over real sockets: upstreams under their own names, and what is let through to others. */
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { makeAuthority } from '../services/certificates.ts';
import { expectStatus, RegistryClient } from '../e2e/registry-client.ts';
import { makeImage } from '../e2e/images.ts';
import { accessTokens } from '../support/access-tokens.ts';
import { fakeUpstream, type FakeUpstream } from '../support/fake-upstream.ts';
import { startUmbra, type Overrides, type Surroundings, type TestUmbra } from '../support/umbra.ts';
import { endWires, secure, tunnelTo, Wire } from './wire.ts';

let folder: string;
let quay: FakeUpstream;
let closing: (() => Promise<unknown>)[];
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'umbra-proxy-'));
  quay = await fakeUpstream();
});
afterAll(async () => {
  await quay?.close();
  rmSync(folder, { recursive: true });
});
beforeEach(() => (closing = []));
afterEach(async () => {
  endWires();
  for (const close of closing.toReversed()) await close();
});

/** An Umbra whose listener is a proxy; the certificate of its authority is `ca()`. */
async function start(listener: Overrides = {}, settings: Overrides = {}, surroundings: Surroundings = {}): Promise<TestUmbra> {
  const umbra = await startUmbra(
    {
      listeners: [{ address: '127.0.0.1:0', proxy: true, ...listener }],
      proxyCa: { certFile: join(folder, 'ca.pem'), keyFile: join(folder, 'ca.key') },
      upstreams: { 'quay.io': { url: quay.url }, 'docker.io': { policy: 'local' }, 'registry.example.org:5000': { policy: 'local' } },
      ...settings,
    },
    surroundings,
  );
  closing.push(() => umbra.close());
  return umbra;
}

const ca = (): string => readFileSync(join(folder, 'ca.pem'), 'utf8');

function client(umbra: TestUmbra, url: string, login: { readonly username?: string; readonly password?: string } = {}): RegistryClient {
  const made = new RegistryClient(url, { ca: ca(), proxy: umbra.origin, ...login });
  closing.push(() => made[Symbol.asyncDispose]());
  return made;
}

/** Says back what it is told, and says how each of its connections ended. */
async function echo(host = '127.0.0.1'): Promise<{ readonly port: number; readonly connections: Socket[] }> {
  const connections: Socket[] = [];
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
    connections.push(socket);
    socket.on('error', () => undefined);
    socket.pipe(socket);
  }).listen(0, host);
  await once(server, 'listening');
  closing.push(async () => {
    for (const socket of connections) socket.destroy();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, connections }; // of TCP
}

async function connectLine(umbra: TestUmbra, authority: string, more = 'Proxy-Authorization: Basic c2VjcmV0\r\n'): Promise<string> {
  const wire = await Wire.open(umbra.origin);
  const head = await wire.send(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n${more}\r\n`).head();
  return head.slice(0, head.indexOf('\r\n'));
}

describe('an upstream, by its own name through the proxy', () => {
  test('is pulled from, and what is pushed to it shadows it', async () => {
    const umbra = await start();
    const theirs = quay.content.addImage('org/app', { tag: '1' });
    const through = client(umbra, 'https://quay.io');
    expect(await through.getManifest('org/app', '1')).toMatchObject({ status: 200, digest: theirs.digest, headers: { 'umbra-source': 'upstream=quay.io; cache=fill' } });
    const ours = await makeImage({ marker: 'ours' });
    await through.push('org/app', '1', ours);
    expect(await through.getManifest('org/app', '1')).toMatchObject({ digest: ours.digest, headers: { 'umbra-source': 'view=main' } });
    await using direct = new RegistryClient(umbra.origin);
    expect(await direct.getManifest('quay.io/org/app', '1')).toMatchObject({ digest: ours.digest });
  });

  test.each([
    ['https://registry-1.docker.io', 'docker.io/library/own'],
    ['https://index.docker.io', 'docker.io/library/own'],
    ['https://docker.io', 'docker.io/library/own'],
    ['https://registry.example.org:5000', 'registry.example.org:5000/own'],
  ])('%s means %s', async (url, name) => {
    const umbra = await start();
    const image = await makeImage({ marker: url });
    await client(umbra, url).push('own', '1', image);
    await using direct = new RegistryClient(umbra.origin);
    expect(await direct.getManifest(name, '1')).toMatchObject({ digest: image.digest });
  });

  test('has the view of the listener', async () => {
    const umbra = await start({ view: 'change' }, { views: { define: { change: { parents: ['main'] } } } });
    await client(umbra, 'https://quay.io').push('org/viewed', '1', await makeImage({ marker: 'of a change' }));
    await using direct = new RegistryClient(umbra.origin);
    expect(await direct.getManifest('change.view/quay.io/org/viewed', '1')).toMatchObject({ headers: { 'umbra-source': 'view=change' } });
    expect(await direct.getManifest('main.view/quay.io/org/viewed', '1')).toMatchObject({ status: 404 });
  });

  test('lets in whom the rules let in, by tokens of its own name', async () => {
    const umbra = await start({}, { auth: { keyFile: './key', anonymous: 'pull', users: [{ name: 'ci', password: 'pw:ö', access: 'push' }] } });
    const image = await makeImage({ marker: 'by ci' });
    const anybody = client(umbra, 'https://quay.io');
    const refused = await anybody.call('/v2/org/mine/blobs/uploads/', { method: 'POST' });
    expect(refused).toMatchObject({ status: 401, headers: { 'www-authenticate': expect.stringMatching(/^Bearer realm="https:\/\/quay\.io\/auth\/token",.*scope="repository:org\/mine:pull,push"/) } });
    await client(umbra, 'https://quay.io', { username: 'ci', password: 'pw:ö' }).push('org/mine', '1', image);
    expect(await anybody.getManifest('org/mine', '1')).toMatchObject({ status: 200, digest: image.digest });
  });

  test('is only pulled from on a mirror', async () => {
    const umbra = await start({ mirror: true });
    const refused = await client(umbra, 'https://quay.io').call('/v2/org/app/blobs/uploads/', { method: 'POST' });
    expect(refused).toMatchObject({ status: 405 });
    expect(refused.headers['www-authenticate']).toBeUndefined();
  });

  test('is asked in plain HTTP by absolute targets, whatever their Host header says', async () => {
    const umbra = await start({}, { auth: { keyFile: './key', anonymous: 'none', users: [{ name: 'ci', password: 'x', access: 'push' }] } });
    const wire = await Wire.open(umbra.origin);
    const head = await wire.send('GET http://quay.io/v2/org/app/tags/list HTTP/1.1\r\nHost: registry-1.docker.io\r\nProxy-Connection: keep-alive\r\n\r\n').head();
    expect(head).toMatch(/^HTTP\/1.1 401 .*WWW-Authenticate: Bearer realm="http:\/\/quay\.io\/auth\/token",service="umbra",scope="repository:org\/app:pull"\r\n/s);
  });

  test('works through a proxy that has TLS itself', async () => {
    const leaf = await (await makeAuthority(mkdtempSync(join(folder, 'tls-')))).issue('umbra');
    const umbra = await start({ tls: { cert: leaf.certFile, key: leaf.keyFile } });
    const outer = connectTls({ host: '127.0.0.1', port: Number(new URL(umbra.origin).port), ca: readFileSync(leaf.certFile), rejectUnauthorized: false });
    await once(outer, 'secureConnect');
    outer.write('CONNECT quay.io:443 HTTP/1.1\r\nHost: quay.io:443\r\n\r\n');
    await once(outer, 'data');
    const inner = await secure(outer, { ca: ca(), servername: 'quay.io' });
    expect(await inner.send('GET /v2/ HTTP/1.1\r\nHost: quay.io\r\n\r\n').head()).toMatch(/^HTTP\/1.1 200 /);
  });

  test('works by IPv6', async () => {
    const umbra = await start({ address: '[::1]:0' });
    const inner = await secure(await tunnelTo(umbra.origin.replace('::1', '[::1]'), 'quay.io:443'), { ca: ca(), servername: 'quay.io' });
    expect(await inner.send('GET /v2/ HTTP/1.1\r\nHost: quay.io\r\n\r\n').head()).toMatch(/^HTTP\/1.1 200 /);
  });
});

describe('a connection that is ended here', () => {
  test('offers HTTP/1.1 only, with a certificate for the host of CONNECT, whatever the client says in TLS', async () => {
    const umbra = await start();
    const inner = await secure(await tunnelTo(umbra.origin, 'QUAY.io:443'), { ca: ca(), servername: 'ghcr.io', checkServerIdentity: () => undefined, ALPNProtocols: ['h2', 'http/1.1'] });
    expect(inner.socket.alpnProtocol).toBe('http/1.1');
    expect(inner.socket.getPeerCertificate().subjectaltname).toBe('DNS:quay.io');
  });

  test('shows a new certificate before the last one ends', async () => {
    let nowMs = Date.now();
    const umbra = await start({}, {}, { nowMs: () => nowMs });
    const serial = async (): Promise<string> => {
      const { socket } = await secure(await tunnelTo(umbra.origin, 'quay.io:443'), { ca: ca(), servername: 'quay.io', rejectUnauthorized: false }); // of another day
      const { serialNumber } = socket.getPeerCertificate();
      socket.destroy();
      return serialNumber;
    };
    const first = await serial();
    expect(await serial()).toBe(first);
    nowMs += 61 * 86_400_000;
    expect(await serial()).not.toBe(first);
  });

  test.each([
    ['the host itself', 'GET /v2/ HTTP/1.1\r\nHost: quay.io\r\n\r\n', 200],
    ['the host with its port', 'GET /v2/ HTTP/1.1\r\nHost: Quay.io:443\r\n\r\n', 200],
    ['the host in the target', 'GET https://quay.io/v2/ HTTP/1.1\r\nHost: ghcr.io\r\n\r\n', 200],
    ['no host', 'GET /v2/ HTTP/1.0\r\n\r\n', 200],
    ['another host', 'GET /v2/ HTTP/1.1\r\nHost: registry-1.docker.io\r\n\r\n', 421],
    ['another port', 'GET /v2/ HTTP/1.1\r\nHost: quay.io:8443\r\n\r\n', 421],
    ['another host in the target', 'GET https://registry-1.docker.io/v2/ HTTP/1.1\r\nHost: quay.io\r\n\r\n', 421],
    ['nonsense', 'GET /v2/ HTTP/1.1\r\nHost: quay.io, x\r\n\r\n', 421],
    ['another connection', 'CONNECT ghcr.io:443 HTTP/1.1\r\nHost: ghcr.io:443\r\n\r\n', 403],
  ])('answers a request for %s', async (_, request, status) => {
    const umbra = await start();
    const inner = await secure(await tunnelTo(umbra.origin, 'quay.io:443'), { ca: ca(), servername: 'quay.io' });
    expect(await inner.send(request).head()).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
  });

  test('may begin with what the client sent along with CONNECT', async () => {
    const umbra = await start();
    // A client that speaks TLS to a pair of pipes shows its first bytes before anything is connected.
    const socket = (await Wire.open(umbra.origin)).socket;
    socket.removeAllListeners('data');
    socket.pause();
    const early = await firstFlight();
    socket.write(Buffer.concat([Buffer.from('CONNECT quay.io:443 HTTP/1.1\r\nHost: quay.io:443\r\n\r\n'), early]));
    const wire = new Wire(socket);
    socket.resume();
    expect(await wire.head()).toMatch(/^HTTP\/1.1 200 /);
    // A TLS record of type handshake: ServerHello.
    expect((await wire.bytes(1)).charCodeAt(0)).toBe(22);
  });

  test.each([
    ['behind CONNECT', 'CONNECT quay.io:443 HTTP/1.1\r\nHost: quay.io:443\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n', /^HTTP\/1.1 200 Connection established\r\n\r\n[^H]*$/],
    ['behind a CONNECT that is refused', 'CONNECT ghcr.io:443 HTTP/1.1\r\nHost: ghcr.io:443\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n', /^HTTP\/1.1 403 (?:(?!HTTP\/).)*$/s],
    ['before CONNECT', 'GET /readyz HTTP/1.1\r\nHost: x\r\n\r\nCONNECT quay.io:443 HTTP/1.1\r\nHost: quay.io:443\r\n\r\n', /^$/],
  ])('has no request smuggled in %s', async (_, request, answer) => {
    const umbra = await start();
    expect(await (await Wire.open(umbra.origin)).send(request).rest()).toMatch(answer);
  });
});

/** What a client of TLS says first. */
async function firstFlight(): Promise<Buffer> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = connectTls({ host: '127.0.0.1', port: (server.address() as AddressInfo).port, servername: 'quay.io' }); // of TCP
  client.on('error', () => undefined);
  const [socket] = (await once(server, 'connection')) as [Socket];
  const [hello] = (await once(socket, 'data')) as [Buffer];
  socket.destroy();
  client.destroy();
  server.close();
  return hello;
}

describe('a host that is no upstream', () => {
  test.each([
    ['ghcr.io:443', [], /^HTTP\/1.1 403 Forbidden: umbra: ghcr\.io:443 is no upstream of this proxy and is not let through: listeners\[\]\.tunnel names what is$/],
    ['quay.io:80', [], /^HTTP\/1.1 403 Forbidden: umbra: quay\.io:80 is no upstream/],
    ['registry.example.org:443', [], /^HTTP\/1.1 403 /],
    ['localhost:443', ['*'], /^HTTP\/1.1 403 Forbidden: umbra: localhost:443 is at no public address/],
    ['[::1]:443', ['*'], /^HTTP\/1.1 403 /],
    ['nowhere.invalid:443', ['*'], /^HTTP\/1.1 502 Bad Gateway: umbra: nowhere\.invalid cannot be resolved$/],
    ['localhost', ['*'], /^HTTP\/1.1 400 Bad Request: umbra: CONNECT takes host:port$/],
    ['127.0.0.1:1', ['127.0.0.1:1'], /^HTTP\/1.1 502 Bad Gateway: umbra: no connection to 127\.0\.0\.1:1: ECONNREFUSED$/],
  ])('%s with tunnel: %j', async (authority, tunnel, line) => {
    expect(await connectLine(await start({ tunnel }), authority)).toMatch(line);
  });

  test('is not spoken to in plain HTTP', async () => {
    const umbra = await start({ tunnel: ['*:80'] });
    const wire = await Wire.open(umbra.origin);
    expect(await wire.send('GET http://example.org/ HTTP/1.1\r\nHost: example.org\r\n\r\n').head()).toMatch(/^HTTP\/1.1 403 /);
  });

  test.each([
    ['127.0.0.1', (port: number) => [`127.0.0.1:${port}`], (port: number) => `127.0.0.1:${port}`],
    ['127.0.0.1', (port: number) => [`localhost:${port}`, `127.0.0.0/8:${port}`], (port: number) => `localhost:${port}`],
    ['::1', (port: number) => [`[::1]:${port}`], (port: number) => `[::1]:${port}`],
  ])('is let through to %s where that is allowed, until either end is done', async (host, tunnel, authority) => {
    const { port, connections } = await echo(host);
    const umbra = await start({ tunnel: tunnel(port) });
    const wire = await Wire.open(umbra.origin);
    wire.send(`CONNECT ${authority(port)} HTTP/1.1\r\nHost: x\r\n\r\nhello `);
    expect(await wire.head()).toMatch(/^HTTP\/1.1 200 /);
    expect(await wire.send('there').bytes(11)).toBe('hello there');
    // Half of the connection ends; what was said before still comes back.
    wire.socket.end('bye');
    expect(await wire.rest()).toBe('bye');
    expect(connections).toHaveLength(1);
  });

  test('is cut off when the client is gone, and the client when it is', async () => {
    const { port, connections } = await echo();
    const umbra = await start({ tunnel: [`127.0.0.1:${port}`] });
    const one = new Wire(await tunnelTo(umbra.origin, `127.0.0.1:${port}`));
    await one.send('x').bytes(1);
    one.socket.resetAndDestroy();
    await once(connections[0] as Socket, 'close');
    const other = new Wire(await tunnelTo(umbra.origin, `127.0.0.1:${port}`));
    await other.send('x').bytes(1);
    (connections[1] as Socket).resetAndDestroy();
    expect(await other.rest()).toBe('');
  });

  test('is cut off when nothing moves', async () => {
    const { port, connections } = await echo();
    const umbra = await start({ tunnel: [`127.0.0.1:${port}`] }, { limits: { stall: '100ms' } });
    const wire = new Wire(await tunnelTo(umbra.origin, `127.0.0.1:${port}`));
    await wire.send('x').bytes(1);
    await once(connections[0] as Socket, 'close');
    expect(await wire.rest()).toBe('');
  });
});

/** The table of `test/conformance/access.test.ts`, for CONNECT and what is asked behind it. */
describe('who may do what through the proxy', () => {
  const USERS = [{ name: 'reader', password: 'pw:reader', access: 'pull' }, { name: 'writer', password: 'pw:writer', access: 'push' }];
  const ROWS = { bad: [401, 401], uncovered: [401, 401], pull: [200, 401], push: [200, 202] } as const;
  let umbra: TestUmbra;
  let tunnelled: number;
  beforeEach(async () => {
    tunnelled = (await echo()).port;
    umbra = await start({ tunnel: [`127.0.0.1:${tunnelled}`] }, { auth: { keyFile: join(folder, 'access-key'), anonymous: 'none', users: USERS }, views: { define: { other: { parents: ['main'] } } } });
    quay.content.addImage('org/app', { tag: '1' });
  });
  const behind = async (): Promise<Wire> => await secure(await tunnelTo(umbra.origin, 'quay.io:443'), { ca: ca(), servername: 'quay.io' });
  const tokens = accessTokens({
    keyFile: () => join(folder, 'access-key'), host: 'quay.io', name: 'org/app', otherName: 'org/other',
    async tokenFor(user, scope) {
      const login = Buffer.from(`${user}:pw:${user}`).toString('base64');
      const answer = await client(umbra, 'https://quay.io').call(`/auth/token?scope=${encodeURIComponent(scope)}`, { headers: { authorization: `Basic ${login}` } });
      expectStatus(answer, 200);
      return (JSON.parse(answer.bytes.toString()) as { token: string }).token;
    },
  });

  test.each(tokens.rows)('with %s', async (_, make, kind) => {
    const token = await make();
    const header = token === undefined ? '' : `Authorization: Bearer ${token}\r\n`;
    // Whom CONNECT is for decides, and nothing that comes with it: rights are asked for by what is asked for behind it.
    for (const [authority, status] of [['quay.io:443', 200], [`127.0.0.1:${tunnelled}`, 200], ['ghcr.io:443', 403], ['nonsense', 400]] as const) {
      expect(await connectLine(umbra, authority, token === undefined ? '' : `${header}Proxy-${header}`), authority).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    }
    const asked = [
      await (await behind()).send(`GET /v2/org/app/manifests/1 HTTP/1.1\r\nHost: quay.io\r\n${header}\r\n`).head(),
      await (await behind()).send(`POST /v2/org/app/blobs/uploads/ HTTP/1.1\r\nHost: quay.io\r\nContent-Length: 0\r\n${header}\r\n`).head(),
    ];
    expect(asked.map((head) => Number(head.split(' ')[1]))).toEqual(ROWS[kind]);
    if (token !== undefined) {
      // A proxy's credentials are none of the registry's.
      const head = await (await behind()).send(`GET /v2/org/app/manifests/1 HTTP/1.1\r\nHost: quay.io\r\nProxy-${header}\r\n`).head();
      expect(head).toMatch(/^HTTP\/1.1 401 /);
    }
  });
});

describe('the listener', () => {
  test('answers for itself as any other', async () => {
    const umbra = await start({ upstream: 'quay.io' });
    quay.content.addImage('org/plain', { tag: '1' });
    expect((await fetch(`${umbra.origin}/healthz`)).status).toBe(200);
    expect((await fetch(`${umbra.origin}/v2/org/plain/manifests/1`)).headers.get('umbra-source')).toBe('upstream=quay.io; cache=fill');
  });

  test('is no proxy where it is not said to be one', async () => {
    const umbra = await start({ proxy: false });
    expect(await (await Wire.open(umbra.origin)).send('CONNECT quay.io:443 HTTP/1.1\r\nHost: quay.io:443\r\n\r\n').rest()).toBe('');
  });

  test('takes no head without an end', async () => {
    const umbra = await start();
    const head = await (await Wire.open(umbra.origin)).send(`CONNECT quay.io:443 HTTP/1.1\r\nX: ${'x'.repeat(20_000)}\r\n`).head();
    expect(head).toMatch(/^HTTP\/1.1 431 /);
  });

  test('that stops lets go of what is idle at once', async () => {
    const { port } = await echo();
    const umbra = await start({ tunnel: [`127.0.0.1:${port}`] }, { limits: { drain: '1h' } });
    closing.pop();
    const tunnel = new Wire(await tunnelTo(umbra.origin, `127.0.0.1:${port}`));
    await tunnel.send('x').bytes(1);
    const inner = await secure(await tunnelTo(umbra.origin, 'quay.io:443'), { ca: ca(), servername: 'quay.io' });
    await inner.send('GET /v2/ HTTP/1.1\r\nHost: quay.io\r\n\r\n').head();
    // One that went without a word.
    (await secure(await tunnelTo(umbra.origin, 'quay.io:443'), { ca: ca(), servername: 'quay.io' })).socket.destroy();
    await umbra.close();
    expect(await tunnel.rest()).toBe('');
  });

  test('that stops ends a tunnel in use when its time is over', async () => {
    const { port } = await echo();
    const umbra = await start({ tunnel: [`127.0.0.1:${port}`] }, { limits: { drain: 0 } });
    closing.pop();
    const tunnel = new Wire(await tunnelTo(umbra.origin, `127.0.0.1:${port}`));
    await tunnel.send('x').bytes(1);
    await umbra.close();
    expect(await tunnel.rest()).toBe('');
  });

  test('tells of each CONNECT that was not its own to answer, and no secret', async () => {
    const lines: string[] = [];
    const { port } = await echo();
    const umbra = await start({ tunnel: [`127.0.0.1:${port}`] }, {}, { log: (line) => void lines.push(line) });
    await connectLine(umbra, 'ghcr.io:443');
    const tunnel = new Wire(await tunnelTo(umbra.origin, `127.0.0.1:${port}`));
    await tunnel.send('12345').bytes(5);
    tunnel.socket.end();
    await tunnel.rest();
    const metrics = await (await fetch(`${umbra.origin}/metrics`)).text();
    const told = lines.map((line) => JSON.parse(line) as Record<string, unknown>).filter(({ method }) => method === 'CONNECT');
    expect(told).toMatchObject([
      { url: 'ghcr.io:443', status: 403 },
      { url: `127.0.0.1:${port}`, status: 200, bytesIn: 5, bytes: 5 },
    ]);
    expect(metrics).toMatch(/umbra_requests_total\{route="connect",method="[^"]+",status="403"\} 1/);
    expect(lines.join('')).not.toContain('c2VjcmV0');
  });

  test('tells of a client that does not trust its authority', async () => {
    const lines: string[] = [];
    const told = Promise.withResolvers<string>();
    const umbra = await start({}, {}, { log: (line) => void (lines.push(line), line.includes('broke off') && told.resolve(line)) });
    const inner = connectTls({ socket: await tunnelTo(umbra.origin, 'quay.io:443'), servername: 'quay.io' });
    await once(inner, 'error');
    expect(JSON.parse(await told.promise)).toMatchObject({ level: 'info', host: 'quay.io', error: expect.stringMatching(/alert|hang up|closed/i) });
  });
});
