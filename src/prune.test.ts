/** Uploads that clients gave up, over real files: swept by a server as it starts, removed by `umbra prune` and `zuul-registry prune`. */
import { mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { startUmbra, type TestUmbra } from '../test/support/umbra.ts';
import { createOutput } from './cli/output.ts';
import { run } from './cli/program.ts';

const DAY_MS = 24 * 60 * 60 * 1000;
let folder: string;
let root: string;
let closing: TestUmbra[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'umbra-prune-'));
  [root, closing] = [join(folder, 'storage'), []];
  await writeFile(join(folder, 'umbra.yaml'), 'storage: { driver: filesystem, root: storage }\n');
  await writeFile(join(folder, 'registry.yaml'), 'registry: { secret: x, storage: { driver: filesystem, root: storage } }\n');
});
afterEach(async () => {
  for (const umbra of closing) await umbra.close();
  await rm(folder, { recursive: true });
});

async function serve(surroundings: Parameters<typeof startUmbra>[1] = {}): Promise<TestUmbra> {
  const umbra = await startUmbra({ storage: { driver: 'filesystem', root } }, surroundings);
  closing.push(umbra);
  return umbra;
}

/** Begins an upload and leaves it with some bytes; its path. */
async function leaveUpload({ origin }: TestUmbra): Promise<string> {
  const begun = await fetch(`${origin}/v2/quay.io/left/blobs/uploads/`, { method: 'POST' });
  expect(begun.status).toBe(202);
  const went = await fetch(new URL(begun.headers.get('location') ?? '', origin), { method: 'PATCH', headers: { 'content-type': 'application/octet-stream' }, body: 'half a layer' });
  expect(went.status).toBe(202);
  return new URL(went.headers.get('location') ?? '', origin).pathname;
}

const status = async ({ origin }: TestUmbra, path: string): Promise<number> => (await fetch(`${origin}${path}`)).status;

/** As if nobody had touched the upload for so long. */
async function age(path: string, ms: number): Promise<void> {
  const id = path.split('/').at(-1) ?? '';
  const seconds = (Date.now() - ms) / 1000;
  let touched = 0;
  for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || !join(entry.parentPath, entry.name).includes(id)) continue;
    await utimes(join(entry.parentPath, entry.name), seconds, seconds);
    touched++;
  }
  expect(touched).toBeGreaterThan(0);
}

async function command(...args: string[]): Promise<string> {
  let printed = '';
  const output = createOutput({ write: (text: string) => (printed += text) }, { write: (text: string) => (printed += text) });
  expect(await run(args, { cwd: folder, env: {}, processors: 1, output }, { umbra: '1', node: 'v1', platform: 'here' })).toBe(0);
  return printed;
}

describe.each([
  ['umbra', ['prune', '--uploads']],
  ['zuul-registry', ['zuul-registry', '-c', 'registry.yaml', 'prune']],
])('%s prune', (_, args) => {
  test('removes the upload that nobody touched for a day, under the running server, and no other', async () => {
    // Its own first sweep, which may be late, finds nothing old.
    const umbra = await serve({ nowMs: () => Date.now() - 2 * DAY_MS });
    const [stale, fresh] = [await leaveUpload(umbra), await leaveUpload(umbra)];
    await age(stale, DAY_MS + 60_000);
    await age(fresh, DAY_MS - 60_000 * 60);
    expect(await command(...args, '--dry-run')).toBe('would remove 1 uploads that nobody touched for 1d, kept 1\n');
    expect([await status(umbra, stale), await status(umbra, fresh)]).toEqual([204, 204]);
    expect(await command(...args)).toBe('removed 1 uploads that nobody touched for 1d, kept 1\n');
    expect([await status(umbra, stale), await status(umbra, fresh)]).toEqual([404, 204]);
    expect(await command(...args)).toBe('removed 0 uploads that nobody touched for 1d, kept 1\n');
  });
});

test('a server that starts sweeps what was left, and says so', async () => {
  const first = await serve();
  const [stale, fresh] = [await leaveUpload(first), await leaveUpload(first)];
  await age(stale, DAY_MS + 60_000);
  const swept = Promise.withResolvers<unknown>();
  const second = await serve({ log: (line) => (line.includes('abandoned uploads swept') ? swept.resolve(JSON.parse(line)) : undefined) });
  expect(await swept.promise).toMatchObject({ removed: 1, kept: 1 });
  expect([await status(second, stale), await status(second, fresh)]).toEqual([404, 204]);
});
