/** Programs for nodes, over HTTP: files in a folder, which others put there and take away while the service runs. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, renameSync, rmSync, statSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { testService, type TestService } from '../service.fixture.ts';
import { createPrograms } from './programs.ts';

let service: TestService;
let folder = '';
beforeEach(async () => {
  service = await testService();
  folder = service.config.programs ?? '';
  mkdirSync(folder);
});
afterEach(async () => await service.close());

/** @returns its digest */
function put(name: string, content: string): string {
  writeFileSync(join(folder, name), content);
  return createHash('sha256').update(content).digest('hex');
}

const get = (sha256: string, method = 'GET'): ReturnType<TestService['call']> => service.call(undefined, method, `/v1/program/${sha256}`);

describe('a program', () => {
  test('is served by its digest, to anybody', async () => {
    const sha256 = put('umbra-1.2.3-linux-amd64.tar.gz', 'for amd64');
    const other = put('umbra-1.2.3-linux-arm64.tar.gz', 'for arm64');
    const { status, text, headers } = await get(sha256);
    expect([status, text]).toEqual([200, 'for amd64']);
    expect(Object.fromEntries(headers)).toMatchObject({ 'content-type': 'application/gzip', 'content-length': '9', etag: `"${sha256}"`, 'cache-control': expect.stringContaining('immutable') });
    expect((await get(other)).text).toBe('for arm64');
  });

  test('is measured by HEAD', async () => {
    const { status, text, headers } = await get(put('umbra-1.2.3-linux-amd64.tar.gz', 'for amd64'), 'HEAD');
    expect([status, text, headers.get('content-length')]).toEqual([200, '', '9']);
  });

  test('is served whatever else has a name like one', async () => {
    mkdirSync(join(folder, 'umbra-1.0.0-linux-amd64.tar.gz'));
    execFileSync('mkfifo', [join(folder, 'umbra-1.0.1-linux-amd64.tar.gz')]);
    symlinkSync('nowhere', join(folder, 'umbra-1.0.2-linux-amd64.tar.gz'));
    const sha256 = put('umbra-1.2.3-linux-amd64.tar.gz', 'for amd64');
    expect(await get(sha256)).toMatchObject({ status: 200, text: 'for amd64' });
  });

  test.each(['POST', 'PUT', 'DELETE'])('takes no %s', async (method) => {
    const { status, headers } = await get(put('umbra-1.2.3-linux-amd64.tar.gz', 'x'), method);
    expect([status, headers.get('allow')]).toEqual([405, 'GET']);
  });

  test('that comes later, under the same name too, is found', async () => {
    const first = put('umbra-1.2.3-linux-amd64.tar.gz', 'first');
    expect((await get(first)).status).toBe(200);
    const second = put('.new', 'second');
    expect((await get(second)).status).toBe(404); // no name of ours
    renameSync(join(folder, '.new'), join(folder, 'umbra-1.2.3-linux-amd64.tar.gz'));
    expect((await get(first)).status).toBe(404);
    expect((await get(second)).text).toBe('second');
    rmSync(join(folder, 'umbra-1.2.3-linux-amd64.tar.gz'));
    expect((await get(second)).status).toBe(404);
  });

  test('that was changed under its digest does not arrive whole', async () => {
    const sha256 = put('umbra-1.2.3-linux-amd64.tar.gz', 'as it was');
    expect((await get(sha256)).status).toBe(200);
    const path = join(folder, 'umbra-1.2.3-linux-amd64.tar.gz');
    const { atime, mtime } = statSync(path);
    utimesSync(path, atime, mtime); // to what can be set again
    await get(sha256);
    writeFileSync(path, 'as it is!');
    utimesSync(path, atime, mtime);
    await expect(get(sha256)).rejects.toThrow(TypeError); // fetch's, of whatever is cut
    await expect.poll(() => service.logged.join('\n')).toContain('is not what it was when its digest was taken');
  });
});

test.each(['ab'.repeat(32), 'umbra-1.2.3-linux-amd64.tar.gz', 'AB'.repeat(32), '', `${'ab'.repeat(32)}/x`, '..%2fclusters.db'])('there is nothing at %j', async (path) => {
  put('umbra-1.2.3-linux-amd64.tar.gz', 'x');
  // What is no digest is no program, and nothing else is open to everybody.
  expect((await get(path)).status).toBe(path === 'ab'.repeat(32) ? 404 : 401);
});

test('only files of such a name are programs', async () => {
  const names = ['umbra-1.2.3-linux-amd64.tar.gz', 'umbra-1.2.3-rc.1-linux-arm64.tar.gz', '.umbra-1.2.3-linux-amd64.tar.gz.x1', 'umbra-1.2.3-linux-riscv64.tar.gz', 'umbra-1.2.3-linux-amd64.tar', 'umbra-linux-amd64.tar.gz', 'clusters.db'];
  const digests = names.map((name) => put(name, name));
  expect(await Promise.all(digests.map(async (sha256) => (await get(sha256)).status))).toEqual([200, 200, 404, 404, 404, 404, 404]);
  const programs = createPrograms(folder);
  expect(await programs.of('1.2.3')).toEqual([expect.objectContaining({ version: '1.2.3', architecture: 'amd64', sha256: digests[0], bytes: names[0]?.length })]);
  expect(await programs.of('1.2.3-rc.1')).toHaveLength(1);
  expect(await programs.of('9.9.9')).toEqual([]);
});

test('a folder that is not there has none', async () => {
  expect(await createPrograms(join(folder, 'nowhere')).of('1.2.3')).toEqual([]);
});
