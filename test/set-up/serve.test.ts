/** What was built, as its users start it: `bin/umbra serve` from another folder, ended by a signal. */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, expect, test } from 'vitest';

const ROOT = join(import.meta.dirname, '../..');

let folder = '';
let child: ChildProcess | undefined;
beforeAll(() => {
  execFileSync('make', ['-s', 'build'], { cwd: ROOT, stdio: ['ignore', 'ignore', 'inherit'] });
}, 300_000);
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'umbra-serve-'));
  symlinkSync(join(ROOT, 'bin/umbra'), join(folder, 'umbra'));
});
afterEach(async () => {
  if (child?.exitCode === null && child.signalCode === null) {
    child.kill('SIGKILL'); // a test failed before it ended the server; workers end when their primary is gone
    await once(child, 'exit');
  }
  rmSync(folder, { recursive: true, maxRetries: 5 });
});

test.each([
  ['SIGTERM', 1],
  ['SIGINT', 1],
  ['SIGTERM', 2],
] as const)('%s ends a server of %i workers well; its storage is where its file is', async (signal, workers) => {
  writeFileSync(join(folder, 'umbra.yaml'), `{ workers: ${workers}, upstreams: {}, listeners: [{ address: localhost:0 }] }`);
  const server = spawn('./umbra', ['serve'], { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] });
  child = server;
  const ended = once(server, 'exit');
  let told = '';
  for await (const chunk of server.stderr) {
    told += String(chunk);
    if (/^umbra: ready\b.*\n/m.test(told)) break;
  }
  const [, port] = /ready on 127\.0\.0\.1:(\d+)/.exec(told) ?? [];
  for (const host of ['127.0.0.1', '[::1]']) expect((await fetch(`http://${host}:${port}/v2/`)).status).toBe(200);

  server.kill(signal);
  expect(await ended).toEqual([0, null]);
  expect(existsSync(join(folder, 'umbra-data'))).toBe(true);
  expect(execFileSync('./umbra', ['prune', '--uploads', '--json'], { cwd: folder, encoding: 'utf8' })).toBe(
    '{"event":"uploads","removed":0,"kept":0,"dryRun":false}\n',
  );
});

test('what cannot start ends with 1 and says why', async () => {
  writeFileSync(join(folder, 'umbra.yaml'), 'workers: none');
  const server = spawn('./umbra', ['serve'], { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
  child = server;
  const [stdout, stderr, [code]] = await Promise.all([server.stdout.toArray(), server.stderr.toArray(), once(server, 'close')]);
  expect([code, stdout.join(''), stderr.join('')]).toEqual([
    1,
    '',
    'umbra.yaml:1: workers: expected auto or a number from 1 to 256, got "none"\n',
  ]);
});
