import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { fakeUpstream, type FakeOptions, type FakeUpstream } from '../../test/support/fake-upstream.ts';
import { clientOf, drain, type ClientOptions } from '../../test/support/upstream-client.ts';
import type { Upstream } from './upstream.ts';

const run = promisify(execFile);
const PATH = 'org/app';

/** A certificate that is its own authority. */
let tls: { cert: string; key: string };
beforeAll(async () => {
  const folder = await mkdtemp(join(tmpdir(), 'umbra-tls-'));
  const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
  await run('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj', '/CN=upstream.test',
    '-addext', 'subjectAltName=DNS:upstream.test,IP:127.0.0.1', '-keyout', key, '-out', cert]);
  tls = { cert: await readFile(cert, 'utf8'), key: await readFile(key, 'utf8') };
  await rm(folder, { recursive: true });
});

const opened: { close(): Promise<void> }[] = [];
afterEach(() => Promise.all(opened.splice(0).map((each) => each.close())));

async function fakeOf(options: FakeOptions = {}): Promise<FakeUpstream> {
  const fake = await fakeUpstream(options);
  fake.content.addImage(PATH, { tag: 'latest', layers: [2_000_000] });
  opened.push(fake);
  return fake;
}

function client(url: string, options: ClientOptions = {}): Upstream {
  const made = clientOf(url, options).client;
  opened.push(made);
  return made;
}

describe('TLS', () => {
  it('a private authority is trusted where it is configured', async () => {
    const fake = await fakeOf({ tls });
    const upstream = client(fake.url, { ca: tls.cert });
    expect(await upstream.headManifest(PATH, 'latest')).toBeDefined();
    const [digest, bytes] = [...fake.content.repository(PATH).blobs].find(([, { length }]) => length === 2_000_000)!;
    const blob = await upstream.getBlob(PATH, digest as Parameters<Upstream['getBlob']>[1] /* made by addImage */);
    expect((await drain(blob!.body)).bytes.equals(bytes)).toBe(true);
  });

  it('and nowhere else', async () => {
    const fake = await fakeOf({ tls });
    await expect(client(fake.url).headManifest(PATH, 'latest')).rejects.toMatchObject({ code: 'UPSTREAM_FAILED', message: expect.stringContaining('self-signed certificate') });
  });

  it('an authority that is not PEM is said to be the trouble', async () => {
    const fake = await fakeOf({ tls });
    await expect(client(fake.url, { ca: 'nonsense' }).headManifest(PATH, 'latest')).rejects.toMatchObject({ code: 'UPSTREAM_FAILED' });
  });

  it('a redirect from https into the clear is not followed', async () => {
    const [secure, plain] = [await fakeOf({ tls }), await fakeOf()];
    secure.misbehave({}, { redirectTo: plain.url });
    await expect(client(secure.url, { ca: tls.cert }).headManifest(PATH, 'latest')).rejects.toMatchObject({ message: expect.stringContaining('from https to plain http') });
    expect(plain.requests).toEqual([]);
  });

  it('a redirect from http to https is', async () => {
    const [secure, plain] = [await fakeOf({ tls }), await fakeOf()];
    plain.misbehave({}, { redirectTo: secure.url });
    expect(await client(plain.url, { ca: tls.cert }).headManifest(PATH, 'latest')).toBeDefined();
  });
});

/** A forward proxy that takes every name for loopback: only what goes through it finds `upstream.test`. Status 0: it never answers. */
async function proxy(answerStatus = 200): Promise<{ url: string; seen: string[]; authorizations: unknown[] }> {
  const seen: string[] = [];
  const authorizations: unknown[] = [];
  const sockets = new Set<Socket>();
  const server: Server = createServer((incoming, response) => {
    seen.push(`${incoming.method} ${incoming.url}`);
    authorizations.push(incoming.headers['proxy-authorization']);
    const { port, pathname, search } = new URL(incoming.url ?? '');
    void fetch(`http://127.0.0.1:${port}${pathname}${search}`).then(async (answer) => {
      response.writeHead(answer.status, { 'content-type': answer.headers.get('content-type') ?? '' }).end(Buffer.from(await answer.arrayBuffer()));
    });
  });
  server.on('connect', (incoming, downstream: Socket) => {
    seen.push(`CONNECT ${incoming.url}`);
    authorizations.push(incoming.headers['proxy-authorization']);
    sockets.add(downstream);
    if (answerStatus === 0) return;
    if (answerStatus !== 200) return void downstream.end(`HTTP/1.1 ${answerStatus} No\r\n\r\n`);
    const upstream = connect(Number(incoming.url?.split(':')[1]), '127.0.0.1', () => {
      downstream.write('HTTP/1.1 200 Connection established\r\n\r\n');
      upstream.pipe(downstream).pipe(upstream);
    });
    sockets.add(upstream);
    for (const socket of [upstream, downstream]) socket.on('error', () => socket.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  opened.push({
    async close() {
      for (const socket of sockets) socket.destroy();
      server.closeAllConnections();
      server.close();
    },
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo /* listening on TCP */).port}`, seen, authorizations };
}

describe('a proxy from the environment', () => {
  it('tunnels https, with the private authority at its far end', async () => {
    const fake = await fakeOf({ tls });
    const { url, seen, authorizations } = await proxy();
    const upstream = client(`https://upstream.test:${fake.port}`, { ca: tls.cert, env: { HTTPS_PROXY: url.replace('//', '//user:pass@') } });
    expect(await upstream.getManifest(PATH, 'latest')).toBeDefined();
    expect(seen).toEqual([`CONNECT upstream.test:${fake.port}`]);
    expect(authorizations).toEqual([`Basic ${Buffer.from('user:pass').toString('base64')}`]);
  });

  it('is asked for plain http without a tunnel', async () => {
    const fake = await fakeOf();
    const { url, seen } = await proxy();
    expect(await client(`http://upstream.test:${fake.port}`, { env: { HTTP_PROXY: url } }).getManifest(PATH, 'latest')).toBeDefined();
    expect(seen).toEqual([`GET http://upstream.test:${fake.port}/v2/${PATH}/manifests/latest`]);
  });

  it('is left out for NO_PROXY', async () => {
    const { url, seen } = await proxy();
    const env = { HTTPS_PROXY: url, HTTP_PROXY: url, NO_PROXY: '.invalid' };
    // No such host: said at once, or after a while, as the machine's resolver likes.
    await expect(client('http://upstream.invalid', { env, timeoutMs: 500 }).getManifest(PATH, 'latest')).rejects.toMatchObject({ name: 'RegistryError' });
    expect(seen).toEqual([]);
  });

  it.each<[string, (url: string) => string, string]>([
    ['that refuses', (url) => url, '407'],
    ['that is not a URL', () => 'http://user:hunter2@[', 'the proxy that the environment names is not a URL'],
  ])('%s leaves the question open', async (_, spell, message) => {
    const { url } = await proxy(407);
    const error: unknown = await client('https://upstream.test', { env: { HTTPS_PROXY: spell(url) } }).getManifest(PATH, 'latest').catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'UPSTREAM_FAILED', message: expect.stringContaining(message) });
    expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toContain('hunter2');
  });
});

it('a proxy that never answers is given up after the timeout', async () => {
  const { url } = await proxy(0);
  const upstream = client('https://upstream.test', { timeoutMs: 100, env: { HTTPS_PROXY: url } });
  await expect(upstream.getManifest(PATH, 'latest')).rejects.toMatchObject({ code: 'UPSTREAM_TIMEOUT' });
});

it('a port where nobody listens leaves the question open at once', async () => {
  const fake = await fakeUpstream();
  await fake.close();
  await expect(client(fake.url).headManifest(PATH, 'latest')).rejects.toMatchObject({ code: 'UPSTREAM_FAILED', message: expect.stringContaining('ECONNREFUSED') });
});

it('an upstream behind a path is asked below that path', async () => {
  const fake = await fakeOf();
  await client(`${fake.url}/registry/`).headManifest(PATH, 'latest');
  expect(fake.requests[0]?.url).toBe(`/registry/v2/${PATH}/manifests/latest`);
});

it('undici is loaded with the first request and not before', async () => {
  const fake = await fakeOf();
  const script = `
    import { createRequire } from 'node:module';
    import { clientOf } from ${JSON.stringify(new URL('../../test/support/upstream-client.ts', import.meta.url).href)};
    const loaded = () => Object.keys(createRequire(import.meta.url).cache).some((path) => path.includes('/undici/'));
    const { client } = clientOf(${JSON.stringify(fake.url)});
    const before = loaded();
    await client.headManifest('${PATH}', 'latest');
    console.log(JSON.stringify([before, loaded()]));
    await client.close();`;
  const { stdout } = await run(process.execPath, ['--input-type=module', '--eval', script], { cwd: import.meta.dirname });
  expect(JSON.parse(stdout)).toEqual([false, true]);
});
