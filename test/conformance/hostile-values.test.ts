/**
 * Hostile text in every place of a request that takes some, over a store of files: nothing outside of the store is read
 * or written, no header of the answer is the client's, and what is refused is refused with a 4xx that is JSON.
 */
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startUmbra, type TestUmbra } from '../support/umbra.ts';
import { openClient, type Client } from './client.ts';
import { unknownDigest } from './content.ts';
import { HOSTILE_VALUES } from './hostile.ts';

const SECRET = 'what lies beside the store';
/** Where a value goes, and how the request is made. */
const PLACES: readonly (readonly [string, string, (value: string) => string])[] = [
  ['a name', 'GET', (v) => `/v2/${v}/tags/list`],
  ['a component of a name', 'GET', (v) => `/v2/org/${v}/manifests/1`],
  ['a name pushed to', 'POST', (v) => `/v2/${v}/blobs/uploads/`],
  ['a host in a name', 'POST', (v) => `/v2/${v}.example/app/blobs/uploads/`],
  ['ns', 'GET', (v) => `/v2/app/tags/list?ns=${v}`],
  ['ns of a push', 'POST', (v) => `/v2/app/blobs/uploads/?ns=${v}`],
  ['a tag', 'GET', (v) => `/v2/app/manifests/${v}`],
  ['a tag deleted', 'DELETE', (v) => `/v2/app/manifests/${v}`],
  ['a tag pushed', 'PUT', (v) => `/v2/app/manifests/${v}`],
  ['a digest of a blob', 'GET', (v) => `/v2/app/blobs/sha256:${v}`],
  ['a blob', 'HEAD', (v) => `/v2/app/blobs/${v}`],
  ['an algorithm', 'GET', (v) => `/v2/app/blobs/${v}:${'0'.repeat(64)}`],
  ['a subject', 'GET', (v) => `/v2/app/referrers/${v}`],
  ['an artifact type', 'GET', (v) => `/v2/app/referrers/${unknownDigest()}?artifactType=${v}`],
  ['an upload', 'GET', (v) => `/v2/app/blobs/uploads/${v}`],
  ['an upload continued', 'PATCH', (v) => `/v2/app/blobs/uploads/${v}`],
  ['an upload finished', 'PUT', (v) => `/v2/app/blobs/uploads/${v}?digest=${unknownDigest()}`],
  ['an upload cancelled', 'DELETE', (v) => `/v2/app/blobs/uploads/${v}`],
  ['the digest of an upload', 'POST', (v) => `/v2/app/blobs/uploads/?digest=${v}`],
  ['what is mounted', 'POST', (v) => `/v2/app/blobs/uploads/?mount=${v}&from=org/app`],
  ['where it is mounted from', 'POST', (v) => `/v2/app/blobs/uploads/?mount=${unknownDigest()}&from=${v}`],
  ['a view', 'GET', (v) => `/v2/${v}.view/app/tags/list`],
  ['a view pushed to', 'POST', (v) => `/v2/${v}.view/app/blobs/uploads/`],
  ['the view of a catalogue', 'GET', (v) => `/v2/${v}.view/_catalog`],
  ['the last of a page', 'GET', (v) => `/v2/_catalog?n=5&last=${v}`],
  ['the size of a page', 'GET', (v) => `/v2/_catalog?n=${v}`],
  ['a scope', 'GET', (v) => `/auth/token?scope=repository:${v}:pull`],
  ['a service and an account', 'GET', (v) => `/auth/token?service=${v}&account=${v}&scope=repository:app:pull`],
];
/** What does no harm there: a list may be empty, a parameter may mean nothing. */
const FINE = new Set([200, 202]);

let folder: string;
let umbra: TestUmbra;
let client: Client;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'umbra-hostile-'));
  mkdirSync(join(folder, 'outside', 'store'), { recursive: true });
  for (const place of ['secret', 'outside/secret']) writeFileSync(join(folder, place), SECRET);
  umbra = await startUmbra({ storage: { driver: 'filesystem', root: join(folder, 'outside', 'store') }, auth: { anonymous: 'push', keyFile: join(folder, 'key') } });
  client = openClient(umbra.origin);
});
afterAll(async () => {
  await client?.close();
  await umbra?.close();
  rmSync(folder, { recursive: true, force: true });
});

describe.each(PLACES)('%s', (_, method, target) => {
  test('takes no hostile value', async () => {
    for (const value of HOSTILE_VALUES) {
      const answer = await client.send(method, target(value), method === 'PUT' || method === 'PATCH' ? { body: '{}' } : {});
      const about = `${method} ${target(value).slice(0, 200)}: ${answer.status} ${answer.body.toString().slice(0, 300)}`;
      expect(answer.status >= 400 ? Math.floor(answer.status / 100) : answer.status, about).toSatisfy((status: number) => status === 4 || FINE.has(status));
      expect(answer.header('x-injected'), about).toBeUndefined();
      expect(answer.body.toString(), about).not.toContain(SECRET);
      expect(answer.body.toString(), about).not.toContain('root:x:0:0');
      if (answer.status >= 400 && method !== 'HEAD') expect(answer.json(), about).toMatchObject({ errors: [{ code: expect.stringMatching(/^[A-Z_]+$/) as string }] });
    }
    expect(readdirSync(folder).sort()).toEqual(['key', 'outside', 'secret']);
    expect(readdirSync(join(folder, 'outside')).sort()).toEqual(['secret', 'store']);
    expect((await client.send('GET', '/v2/')).status).toBe(200);
  });
});

test.each(['host', 'authorization', 'content-range', 'range', 'if-none-match', 'accept', 'content-type', 'x-forwarded-for', 'x-forwarded-proto', 'x-forwarded-host', 'forwarded', 'user-agent'])('the header %s takes no hostile value', async (header) => {
  for (const value of ['../../secret', '"><script>', 'evil", realm="http://evil', 'bytes=0-18446744073709551616', 'Basic ====', `Bearer ${'a.'.repeat(3000)}`, 'Bearer null', 'x'.repeat(8000), '127.0.0.1, ::1, evil', '\u00ff\u00fe', "' OR 1=1 --"]) {
    for (const [method, path] of [['GET', '/v2/app/tags/list'], ['GET', `/v2/app/blobs/${unknownDigest()}`], ['POST', '/v2/app/blobs/uploads/'], ['PUT', '/v2/app/manifests/1']] as const) {
      const answer = await client.send(method, path, { headers: { [header]: value }, ...(method === 'PUT' ? { body: '{}' } : {}) });
      const about = `${method} ${path} ${header}: ${value.slice(0, 60)}: ${answer.status}`;
      expect(answer.status, about).toBeLessThan(500);
      // Quoted, whatever it is.
      expect((answer.header('www-authenticate') ?? '').replace(/\\"/g, ''), about).not.toMatch(/evil", realm="/);
      expect(answer.header('location') ?? '/', about).toMatch(/^\//);
    }
  }
});
