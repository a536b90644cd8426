/**
 * Who gets what, as one table: every endpoint by every kind of token, over a registry where anonymous may do nothing.
 * What a token is made of and why it is refused: `src/auth/tokens.test.ts`.
 */
import { createSecretKey, randomBytes, type KeyObject } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SignJWT, UnsecuredJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startUmbra, type TestUmbra } from '../support/umbra.ts';
import { openClient, type Client } from './client.ts';
import { blob, image, TYPES, type Content } from './content.ts';

const NAME = 'org/app';
const OTHER = 'org/other';
const USERS = [
  { name: 'reader', password: 'pw:reader', access: 'pull' },
  { name: 'writer', password: 'pw:writer', access: 'push' },
];

/** What an endpoint answers to whom: nothing or a bad token; a token that does not cover it; one that pulls; one that pushes. */
interface Row {
  readonly method: string;
  readonly path: () => string;
  readonly bad: number;
  readonly uncovered: number;
  readonly pull: number;
  readonly push: number;
}

let folder: string;
let umbra: TestUmbra;
let client: Client;
let manifest: Content;
let layer: Content;
/** The other name alone has it. */
let foreign: Content;
/** Begun by the writer. */
let upload: string;
let key: { readonly kid: string; readonly secret: KeyObject };

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'umbra-access-'));
  umbra = await startUmbra({
    auth: { anonymous: 'none', keyFile: join(folder, 'key'), users: USERS },
    views: { define: { other: { parents: ['main'] } } },
  });
  client = openClient(umbra.origin);
  const { keys: [own] } = JSON.parse(readFileSync(join(folder, 'key'), 'utf8')) as { keys: [{ kid: string; k: string }] };
  key = { kid: own.kid, secret: createSecretKey(Buffer.from(own.k, 'base64url')) };

  const config = blob(20, TYPES.config);
  [layer, foreign] = [blob(), blob()];
  manifest = image(config, [layer]);
  for (const [name, blobs] of [[NAME, [config, layer]], [OTHER, [config, layer, foreign]]] as const) {
    for (const { bytes, digest } of blobs) await write('POST', `/v2/${name}/blobs/uploads/?digest=${digest}`, 'application/octet-stream', bytes);
    await write('PUT', `/v2/${name}/manifests/1`, manifest.mediaType, manifest.bytes);
  }
  upload = new URL((await client.send('POST', `/v2/${NAME}/blobs/uploads/`, { headers: { authorization: basic('writer') } })).header('location') ?? '', umbra.origin).pathname;
});
afterAll(async () => {
  await client?.close();
  await umbra?.close();
  rmSync(folder, { recursive: true, force: true });
});

const repository = { bad: 401, uncovered: 401 };
/** In an order in which what one row changes does not matter to the next: what deletes comes last. */
const ROWS: readonly Row[] = [
  { method: 'GET', path: () => '/v2/', bad: 401, uncovered: 200, pull: 200, push: 200 },
  { method: 'GET', path: () => `/v2/${NAME}/manifests/1`, ...repository, pull: 200, push: 200 },
  { method: 'HEAD', path: () => `/v2/${NAME}/manifests/1`, ...repository, pull: 200, push: 200 },
  { method: 'GET', path: () => `/v2/${NAME}/manifests/${manifest.digest}`, ...repository, pull: 200, push: 200 },
  { method: 'GET', path: () => `/v2/${NAME}/manifests/absent`, ...repository, pull: 404, push: 404 },
  { method: 'PUT', path: () => `/v2/${NAME}/manifests/1`, ...repository, pull: 401, push: 201 },
  { method: 'GET', path: () => `/v2/${NAME}/blobs/${layer.digest}`, ...repository, pull: 200, push: 200 },
  { method: 'HEAD', path: () => `/v2/${NAME}/blobs/${layer.digest}`, ...repository, pull: 200, push: 200 },
  { method: 'POST', path: () => `/v2/${NAME}/blobs/uploads/`, ...repository, pull: 401, push: 202 },
  // Its right to read the other name is asked for too: without it the mount is no more than an upload.
  { method: 'POST', path: () => `/v2/${NAME}/blobs/uploads/?mount=${foreign.digest}&from=${OTHER}`, ...repository, pull: 401, push: 202 },
  { method: 'GET', path: () => upload, ...repository, pull: 401, push: 204 },
  { method: 'PATCH', path: () => upload, ...repository, pull: 401, push: 202 },
  { method: 'PUT', path: () => `${upload}?digest=${layer.digest}`, ...repository, pull: 401, push: 400 },
  { method: 'GET', path: () => `/v2/${NAME}/tags/list`, ...repository, pull: 200, push: 200 },
  { method: 'GET', path: () => `/v2/${NAME}/referrers/${manifest.digest}`, ...repository, pull: 200, push: 200 },
  { method: 'GET', path: () => '/v2/_catalog', bad: 401, uncovered: 401, pull: 401, push: 401 },
  { method: 'GET', path: () => '/v2/other.view/_catalog', bad: 401, uncovered: 401, pull: 401, push: 401 },
  // A token is never traded for another.
  { method: 'GET', path: () => `/auth/token?scope=repository:${NAME}:pull`, bad: 401, uncovered: 401, pull: 401, push: 401 },
  { method: 'POST', path: () => '/auth/token', bad: 400, uncovered: 400, pull: 400, push: 400 },
  { method: 'GET', path: () => '/healthz', bad: 200, uncovered: 200, pull: 200, push: 200 },
  { method: 'GET', path: () => '/readyz', bad: 200, uncovered: 200, pull: 200, push: 200 },
  { method: 'GET', path: () => '/v2/unknown', bad: 404, uncovered: 404, pull: 404, push: 404 },
  { method: 'DELETE', path: () => upload, ...repository, pull: 401, push: 204 },
  { method: 'DELETE', path: () => `/v2/${NAME}/blobs/${layer.digest}`, ...repository, pull: 401, push: 202 },
  { method: 'DELETE', path: () => `/v2/${NAME}/manifests/1`, ...repository, pull: 401, push: 202 },
];

const TOKENS: readonly (readonly [string, () => Promise<string | undefined> | string | undefined, 'bad' | 'uncovered' | 'pull' | 'push'])[] = [
  ['no token', () => undefined, 'bad'],
  ['an expired token', () => forge({ lifeSeconds: -1 }), 'bad'],
  ['a token of another key', () => forge({ secret: createSecretKey(randomBytes(32)) }), 'bad'],
  ['a token signed with the literal key "secret"', () => forge({ secret: createSecretKey(Buffer.from('secret')) }), 'bad'],
  ['a token with alg none', () => new UnsecuredJWT(CLAIMS).setIssuer('umbra').setAudience('umbra').setIssuedAt().setExpirationTime('5m').encode(), 'bad'],
  ['a token in the shape of zuul-registry’s', () => new SignJWT({ level: 'write' }).setProtectedHeader({ alg: 'HS256' }).sign(Buffer.from('secret')), 'bad'],
  ['no token at all in the header', () => 'abc', 'bad'],
  ['a push token for another name', () => tokenFor('writer', `repository:${OTHER}:pull,push`), 'uncovered'],
  ['a token of another view', () => tokenFor('writer', `repository:other.view/${NAME}:pull,push`), 'uncovered'],
  ['a pull token', () => tokenFor('reader', `repository:${NAME}:pull`), 'pull'],
  ['a token of a user who may only pull, and asked for more', () => tokenFor('reader', `repository:${NAME}:pull,push`), 'pull'],
  ['a push token', () => tokenFor('writer', `repository:${NAME}:pull,push`), 'push'],
];

describe.each(TOKENS)('with %s', (_, make, kind) => {
  let headers: Record<string, string>;
  beforeAll(async () => {
    const token = await make();
    headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
  });

  test.each(ROWS.map((row) => [row.method, row.path.toString().replace(/^\(\) => /, ''), row] as const))('%s %s', async (method, __, row) => {
    const body = method === 'PUT' && row.path().includes('/manifests/') ? manifest.bytes : method === 'PATCH' ? '' : undefined;
    const type = body === undefined ? {} : { 'content-type': body === '' ? 'application/octet-stream' : manifest.mediaType };
    const answer = await client.send(method, row.path(), { headers: { ...headers, ...type }, ...(body === undefined ? {} : { body }) });
    expect(answer.status, answer.body.toString()).toBe(row[kind]);
    if (answer.status === 401) expect(answer.header('www-authenticate')).toMatch(/^(Bearer realm="http:\/\/127\.0\.0\.1:\d+\/auth\/token"|Basic realm=)/);
    const token = headers['authorization']?.slice('Bearer '.length);
    if (token !== undefined && token.length > 10) expect(answer.body.toString()).not.toContain(token);
  });
});

const CLAIMS = { sub: 'writer', view: 'main', access: [{ type: 'repository', name: `docker.io/${NAME}`, actions: ['pull', 'push', 'delete'] }] };

test('the forged tokens are good but for what is wrong with them', async () => {
  const answer = await client.send('GET', `/v2/${NAME}/tags/list`, { headers: { authorization: `Bearer ${await forge({})}` } });
  expect(answer.status).toBe(200);
});

function forge({ lifeSeconds = 300, secret = key.secret }: { readonly lifeSeconds?: number; readonly secret?: KeyObject }): Promise<string> {
  const now = Math.floor(Date.now() / 1000);
  return new SignJWT(CLAIMS).setProtectedHeader({ alg: 'HS256', typ: 'JWT', kid: key.kid }).setIssuer('umbra').setAudience('umbra')
    .setIssuedAt(now - 600).setExpirationTime(now + lifeSeconds).sign(secret);
}

async function write(method: 'POST' | 'PUT', path: string, type: string, body: Uint8Array): Promise<void> {
  const { status } = await client.send(method, path, { headers: { authorization: basic('writer'), 'content-type': type }, body });
  if (status !== 201) throw new Error(`${method} ${path}: ${status}`);
}

function basic(user: string): string {
  return `Basic ${Buffer.from(`${user}:pw:${user}`).toString('base64')}`;
}

async function tokenFor(user: string, scope: string): Promise<string> {
  const answer = await client.send('GET', `/auth/token?scope=${encodeURIComponent(scope)}`, { headers: { authorization: basic(user) } });
  expect(answer.status, answer.body.toString()).toBe(200);
  return (answer.json() as { token: string }).token;
}
