/** What clients of a zuul-registry rely on, with bin/zuul-registry as the server: levels, tokens, concurrent pushes, prune. */
import { createSecretKey, hkdfSync, randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SignJWT, UnsecuredJWT, decodeJwt, decodeProtectedHeader } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Containers } from '../services/containers.ts';
import { makeImage, makeMultiArch, writeLayout, type Image } from './images.ts';
import { insecure } from './registries-conf.ts';
import { RegistryClient } from './registry-client.ts';
import { ZuulRegistry } from './zuul-registry.ts';

const WRITER = { name: 'zuul', pass: 'pä:ss:wörd 密' };
const READER = { name: 'reader', pass: 'of the reader' };
/** What dockerd sends to a mirror. */
const FOREIGN = { name: 'somebody', pass: 'at Docker Hub' };
const APP = 'org/app';

let dir: string;
let image: Image;
/** Anonymous reads. */
let open: ZuulRegistry;
/** A user who reads, so that anonymous does not. */
let closed: ZuulRegistry;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'umbra-zr-'));
  image = await makeImage({ marker: 'zuul' });
  const writer = { name: '%(ZUUL_REGISTRY_user)', pass: '%(ZUUL_REGISTRY_password)', access: 'write' };
  const env = { ZUUL_REGISTRY_user: WRITER.name, ZUUL_REGISTRY_password: WRITER.pass };
  open = await ZuulRegistry.start({ dir: join(dir, 'open'), env, registry: { users: [writer], namespaced: true, storage: { expiration: 3600 } } });
  closed = await ZuulRegistry.start({ dir: join(dir, 'closed'), env, registry: { users: [writer, { ...READER, access: 'read' }], namespaced: false } });
  for (const { host } of [open, closed]) await pushAs(host, APP, '1');
});
afterAll(async () => {
  for (const server of [open, closed]) await server?.[Symbol.asyncDispose]();
  await rm(dir, { recursive: true, force: true, maxRetries: 5 });
});

interface User {
  readonly name: string;
  readonly pass: string;
}

const basic = ({ name, pass }: User): string => `Basic ${Buffer.from(`${name}:${pass}`, 'utf8').toString('base64')}`;
const WRONG = basic({ ...WRITER, pass: 'pä' }); // up to the first colon
const headersOf = (authorization: string | undefined): Record<string, string> => (authorization === undefined ? {} : { authorization });
const manifestOf = (host: string, tag = '1'): string => `http://${host}/v2/${APP}/manifests/${tag}`;
const get = (host: string, path: string, authorization?: string): Promise<Response> => fetch(`http://${host}${path}`, { headers: headersOf(authorization) });
const put = (host: string, tag: string, authorization?: string): Promise<Response> =>
  fetch(manifestOf(host, tag), { method: 'PUT', headers: { 'content-type': image.mediaType, ...headersOf(authorization) }, body: new Uint8Array(image.bytes) });

/** Basic on each request, without a token. */
async function pushAs(host: string, name: string, tag: string): Promise<void> {
  for (const [digest, bytes] of image.blobs) {
    const begun = await fetch(`http://${host}/v2/${name}/blobs/uploads/`, { method: 'POST', headers: { authorization: basic(WRITER) } });
    const target = new URL(begun.headers.get('location') ?? '', `http://${host}`);
    target.searchParams.set('digest', digest);
    const done = await fetch(target, { method: 'PUT', headers: { authorization: basic(WRITER), 'content-type': 'application/octet-stream' }, body: new Uint8Array(bytes) });
    expect(done.status).toBe(201);
    const head = await fetch(`http://${host}/v2/${name}/blobs/${digest}`, { method: 'HEAD', headers: { authorization: basic(WRITER) } });
    expect([head.status, Number(head.headers.get('content-length'))]).toEqual([200, bytes.length]);
  }
  expect((await put(host, tag, basic(WRITER))).status).toBe(201);
}

async function token(host: string, scope: string, authorization?: string): Promise<string> {
  const answer = await get(host, `/auth/token?scope=${encodeURIComponent(scope)}`, authorization);
  expect(answer.status).toBe(200);
  return ((await answer.json()) as { token: string }).token;
}

describe('who may do what', () => {
  type Row = [what: string, ask: () => Promise<Response>, status: number];
  const scoped = (action: string): string => `/auth/token?scope=${encodeURIComponent(`repository:${APP}:${action}`)}`;
  test.each<Row>([
    ['a login without scope', () => get(open.host, '/auth/token', basic(WRITER)), 200],
    ['a login without scope and a wrong password', () => get(open.host, '/auth/token', WRONG), 401],
    ['a login without scope by a stranger', () => get(open.host, '/auth/token', basic(FOREIGN)), 401],
    ['the first look, which must lead to a login', () => get(open.host, '/v2/'), 401],
    ['Basic', () => get(open.host, '/v2/', basic(WRITER)), 200],
    ['Basic, wrong', () => get(open.host, '/v2/', WRONG), 401],
    ['a token to pull, for nobody', () => get(open.host, scoped('pull')), 200],
    ['a token to pull, for a stranger', () => get(open.host, scoped('pull'), basic(FOREIGN)), 200],
    ['a token to push, for nobody', () => get(open.host, scoped('pull,push')), 200],
    ['a token to push, for a stranger', () => get(open.host, scoped('pull,push'), basic(FOREIGN)), 401],
    ['a token to push with a wrong password', () => get(open.host, scoped('pull,push'), WRONG), 401],
    ['a token to push', () => get(open.host, scoped('pull,push'), basic(WRITER)), 200],
    ['a pull', () => get(open.host, `/v2/${APP}/manifests/1`), 200],
    ['a pull with the credentials of another registry', () => get(open.host, `/v2/${APP}/manifests/1`, basic(FOREIGN)), 200],
    ['a push by nobody', () => put(open.host, '2'), 401],
    ['a push with the token that nobody got', async () => put(open.host, '2', `Bearer ${await token(open.host, `repository:${APP}:pull,push`)}`), 401],
    ['a push with a wrong password', () => put(open.host, '2', WRONG), 401],
    ['what is not there', () => get(open.host, `/v2/${APP}/manifests/2`), 404],
    ['a blob that is not there', () => get(open.host, `/v2/${APP}/blobs/sha256:${'0'.repeat(64)}`), 404],
    ['a name that is not there', () => get(open.host, '/v2/org/nothing/manifests/1'), 404],
    ['the catalogue', () => get(open.host, '/v2/_catalog'), 200],
    ['no pull by nobody, where a user reads', () => get(closed.host, `/v2/${APP}/manifests/1`), 401],
    ['nor by a stranger', () => get(closed.host, `/v2/${APP}/manifests/1`, basic(FOREIGN)), 401],
    ['nor a token', () => get(closed.host, scoped('pull')), 401],
    ['nor the catalogue', () => get(closed.host, '/v2/_catalog'), 401],
    ['a reader logs in', () => get(closed.host, '/auth/token', basic(READER)), 200],
    ['a reader pulls', () => get(closed.host, `/v2/${APP}/manifests/1`, basic(READER)), 200],
    ['a reader pulls with a token', async () => get(closed.host, `/v2/${APP}/manifests/1`, `Bearer ${await token(closed.host, `repository:${APP}:pull`, basic(READER))}`), 200],
    ['a reader sees the catalogue', () => get(closed.host, '/v2/_catalog', basic(READER)), 200],
    ['a reader does not push', () => put(closed.host, '2', basic(READER)), 403],
    ['nor with a token', async () => put(closed.host, '2', `Bearer ${await token(closed.host, `repository:${APP}:pull,push`, basic(READER))}`), 401],
  ])('%s', async (_, ask, status) => {
    expect((await ask()).status).toBe(status);
  });

  test('the challenge names the public URL, and the catalogue what was pushed', async () => {
    expect((await get(open.host, '/v2/')).headers.get('www-authenticate')).toContain(`realm="http://${open.host.replace('localhost', '127.0.0.1')}/auth/token"`);
    expect(await (await get(open.host, '/v2/_catalog')).json()).toEqual({ repositories: [APP] });
  });

  test.each(['127.0.0.1', '[::1]'])('at %s as well', async (host) => {
    expect((await get(open.host.replace('localhost', host), `/v2/${APP}/manifests/1`)).status).toBe(200);
  });
});

describe('a token to push, signed', () => {
  const derived = (): Buffer => Buffer.from(hkdfSync('sha256', open.secret, '', 'umbra token signing key', 32));
  type Row = [how: string, key: () => Uint8Array | 'none', change: object, status: number];
  test.each<Row>([
    ['with the derived key, to show that the others fail for theirs', derived, {}, 201],
    ['with the literal key of zuul-registry', () => Buffer.from('secret'), {}, 401],
    ['with the secret itself', () => Buffer.from(open.secret), {}, 401],
    ['with another key', () => randomBytes(32), {}, 401],
    ['with no algorithm', () => 'none', {}, 401],
    ['with the derived key, and expired', derived, { exp: Math.floor(Date.now() / 1000) - 1 }, 401],
  ])('%s', async (_, key, change, status) => {
    const real = await token(open.host, `repository:${APP}:pull,push`, basic(WRITER));
    const claims = { ...decodeJwt(real), ...change };
    const secret = key();
    const forged = secret === 'none' ? new UnsecuredJWT(claims).encode() : await new SignJWT(claims).setProtectedHeader({ ...decodeProtectedHeader(real), alg: 'HS256' }).sign(createSecretKey(secret));
    expect((await put(open.host, 'forged', `Bearer ${forged}`)).status).toBe(status);
  });
});

test('many clients push one multi-arch image at once, and each sees it whole right after', async () => {
  const multi = await makeMultiArch('pushed by many');
  const layout = join(dir, 'layout');
  await writeLayout(layout, 'x', multi);
  const clients = await Promise.all([1, 2, 3, 4].map((i) => Containers.create(join(dir, `c${i}`), insecure(open.host))));
  const results = await Promise.all(
    clients.map(async (containers, i) => {
      // Two of them push the same tag of the same name.
      const reference = `docker://${open.host}/org/multi:${Math.floor(i / 2)}`;
      await containers.skopeo(['copy', '--all', '--dest-creds', `${WRITER.name}:${WRITER.pass}`, `oci:${layout}:x`, reference]);
      await using client = new RegistryClient(`http://${open.host}`);
      const [head, got] = [await client.headManifest('org/multi', `${Math.floor(i / 2)}`), await client.getManifest('org/multi', multi.digest)];
      const blobs = await Promise.all(multi.children.flatMap(({ blobs: own }) => Array.from(own, ([digest, bytes]) => client.call(`/v2/org/multi/blobs/${digest}`, { method: 'HEAD' }).then(({ status, headers }) => [status, Number(headers['content-length']) === bytes.length]))));
      return [head.status, Number(head.headers['content-length']), head.headers['docker-content-digest'], got.bytes.equals(multi.bytes), ...new Set(blobs.map(String))];
    }),
  );
  for (const result of results) expect(result).toEqual([200, multi.bytes.length, multi.digest, true, '200,true']);
});

test('many clients push one blob at once, and each sees its full size right after', async () => {
  const bytes = randomBytes(3_000_000);
  const sizes = await Promise.all(
    Array.from({ length: 8 }, async () => {
      await using client = new RegistryClient(`http://${open.host}`, { username: WRITER.name, password: WRITER.pass });
      const digest = await client.pushBlob('org/blob', bytes);
      const { status, headers } = await client.call(`/v2/org/blob/blobs/${digest}`, { method: 'HEAD' });
      return [status, Number(headers['content-length'])];
    }),
  );
  expect(sizes).toEqual(Array.from({ length: 8 }, () => [200, bytes.length]));
});

test('prune deletes tags that are older than the expiration, under the running server', async () => {
  for (const tag of ['old', 'young']) expect((await put(open.host, tag, basic(WRITER))).status).toBe(201);
  // As if it had been pushed two hours ago.
  const record = join(open.root, `repos/main/docker.io/${APP}/_tags/old`);
  const then = Date.now() - 2 * 3_600_000;
  await writeFile(`${record}.new`, JSON.stringify({ ...(JSON.parse(await readFile(record, 'utf8')) as object), taggedMs: then }));
  await rename(`${record}.new`, record);

  const told = `docker.io/${APP}:old, pushed ${new Date(then).toISOString()}`;
  const [line, summary] = await open.prune('--dry-run');
  expect([line, summary]).toEqual([told, expect.stringMatching(/^would delete 1 tags that were pushed longer than 1h ago, kept \d+$/)]);
  expect((await get(open.host, `/v2/${APP}/manifests/old`)).status).toBe(200);

  expect((await open.prune())[1]).toMatch(/^deleted 1 tags /);
  // The server may believe for a second what it saw before.
  await expect.poll(async () => (await get(open.host, `/v2/${APP}/manifests/old`)).status, { timeout: 30_000 }).toBe(404);
  expect((await get(open.host, `/v2/${APP}/manifests/young`)).status).toBe(200);
  expect((await get(open.host, `/v2/${APP}/manifests/${image.digest}`)).status).toBe(200);
  expect((await put(open.host, 'old', basic(WRITER))).status).toBe(201);
  expect((await get(open.host, `/v2/${APP}/manifests/old`)).status).toBe(200);
});

test('-d logs more', () => {
  expect(open.output).toContain('"level":"debug"');
});
