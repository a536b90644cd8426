/**
 * Who gets what, as one table: every endpoint by every kind of token, over a registry where anonymous may do nothing.
 * What a token is made of and why it is refused: `src/auth/tokens.test.ts`.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { accessTokens } from '../support/access-tokens.ts';
import { startUmbra, type TestUmbra } from '../support/umbra.ts';
import { openClient, type Client } from './client.ts';
import { blob, image, TYPES, unknownDigest, type Content } from './content.ts';

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
  readonly body?: () => Uint8Array;
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

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'umbra-access-'));
  umbra = await startUmbra({
    auth: { anonymous: 'none', keyFile: join(folder, 'key'), users: USERS },
    views: { define: { other: { parents: ['main'] } } },
  });
  client = openClient(umbra.origin);

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
  { method: 'HEAD', path: () => `/v2/${NAME}/manifests/${manifest.digest}`, ...repository, pull: 200, push: 200 },
  { method: 'PUT', path: () => `/v2/${NAME}/manifests/1`, body: () => manifest.bytes, ...repository, pull: 401, push: 201 },
  { method: 'PUT', path: () => `/v2/${NAME}/manifests/${manifest.digest}`, body: () => manifest.bytes, ...repository, pull: 401, push: 201 },
  { method: 'GET', path: () => `/v2/${NAME}/blobs/${layer.digest}`, ...repository, pull: 200, push: 200 },
  { method: 'HEAD', path: () => `/v2/${NAME}/blobs/${layer.digest}`, ...repository, pull: 200, push: 200 },
  { method: 'GET', path: () => `/v2/${NAME}/blobs/${unknownDigest()}`, ...repository, pull: 404, push: 404 },
  { method: 'HEAD', path: () => `/v2/${NAME}/blobs/${unknownDigest()}`, ...repository, pull: 404, push: 404 },
  { method: 'DELETE', path: () => `/v2/${NAME}/blobs/${unknownDigest()}`, ...repository, pull: 401, push: 404 },
  { method: 'POST', path: () => `/v2/${NAME}/blobs/uploads/`, ...repository, pull: 401, push: 202 },
  { method: 'POST', path: () => `/v2/${NAME}/blobs/uploads/?digest=${layer.digest}`, body: () => layer.bytes, ...repository, pull: 401, push: 201 },
  // Its right to read the other name is asked for too: without it the mount is no more than an upload.
  { method: 'POST', path: () => `/v2/${NAME}/blobs/uploads/?mount=${foreign.digest}&from=${OTHER}`, ...repository, pull: 401, push: 202 },
  { method: 'GET', path: () => upload, ...repository, pull: 401, push: 204 },
  { method: 'PATCH', path: () => upload, body: () => Buffer.alloc(0), ...repository, pull: 401, push: 202 },
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
  { method: 'HEAD', path: () => '/readyz', bad: 200, uncovered: 200, pull: 200, push: 200 },
  // For whoever scrapes it.
  { method: 'GET', path: () => '/metrics', bad: 200, uncovered: 200, pull: 200, push: 200 },
  { method: 'HEAD', path: () => '/metrics', bad: 200, uncovered: 200, pull: 200, push: 200 },
  { method: 'GET', path: () => '/v2/unknown', bad: 404, uncovered: 404, pull: 404, push: 404 },
  { method: 'DELETE', path: () => upload, ...repository, pull: 401, push: 204 },
  { method: 'DELETE', path: () => `/v2/${NAME}/blobs/${layer.digest}`, ...repository, pull: 401, push: 202 },
  { method: 'DELETE', path: () => `/v2/${NAME}/manifests/1`, ...repository, pull: 401, push: 202 },
  { method: 'DELETE', path: () => `/v2/${NAME}/manifests/${manifest.digest}`, ...repository, pull: 401, push: 202 },
  { method: 'DELETE', path: () => `/v2/${NAME}/manifests/${manifest.digest}`, ...repository, pull: 401, push: 404 },
];

const tokens = accessTokens({ keyFile: () => join(folder, 'key'), name: NAME, otherName: OTHER, tokenFor });

test('the forged tokens are good but for what is wrong with them', async () => {
  const answer = await client.send('GET', `/v2/${NAME}/tags/list`, { headers: { authorization: `Bearer ${await tokens.forge()}` } });
  expect(answer.status).toBe(200);
});

test('what anybody may read of the server names nobody and no image', async () => {
  await client.send('GET', `/v2/${NAME}/manifests/1`, { headers: { authorization: basic('writer') } });
  for (const page of ['/metrics', '/readyz', '/healthz']) {
    const { body } = await client.send('GET', page);
    for (const word of [NAME, ...USERS.flatMap(({ name, password }) => [name, password])]) expect(body.toString()).not.toContain(word);
  }
});

describe.each(tokens.rows)('with %s', (_, make, kind) => {
  let headers: Record<string, string>;
  beforeAll(async () => {
    const token = await make();
    headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
  });

  test.each(ROWS.map((row) => [row.method, row.path.toString().replace(/^\(\) => /, ''), row] as const))('%s %s', async (method, __, row) => {
    const body = row.body?.();
    const type = body === undefined ? {} : { 'content-type': row.path().includes('/manifests/') ? manifest.mediaType : 'application/octet-stream' };
    const answer = await client.send(method, row.path(), { headers: { ...headers, ...type }, ...(body === undefined ? {} : { body }) });
    expect(answer.status, answer.body.toString()).toBe(row[kind]);
    if (answer.status === 401) expect(answer.header('www-authenticate')).toMatch(/^(Bearer realm="http:\/\/127\.0\.0\.1:\d+\/auth\/token"|Basic realm=)/);
    const token = headers['authorization']?.slice('Bearer '.length);
    if (token !== undefined && token.length > 10) expect(answer.body.toString()).not.toContain(token);
  });
});

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
