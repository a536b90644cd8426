/** The DevStack plugin's first phase: what it says where something is missing, and what it has built. The others want a Keystone: test/stores/devstack.test.ts. */
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { attempt, DEBIAN_PATH, type CommandResult } from '../services/command.ts';

const ROOT = join(import.meta.dirname, '../..');

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'umbra-devstack-'));
  await mkdir(join(folder, 'bin'));
  for (const name of ['dirname', 'grep']) await symlink(`/usr/bin/${name}`, join(folder, 'bin', name));
  await program('make', `echo "$*" >>${folder}/made`);
});
afterEach(async () => await rm(folder, { recursive: true }));

const program = async (name: string, script: string): Promise<void> => await writeFile(join(folder, 'bin', name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });

/** `path`: where programs are besides those of this test. */
const install = async (path: string, env: Readonly<Record<string, string>> = {}): Promise<CommandResult> =>
  await attempt(join(ROOT, 'test/services/devstack/run'), [join(ROOT, 'devstack'), 'stack', 'install'], {
    env: { PATH: `${folder}/bin${path}`, DEST: folder, DATA_DIR: folder, UMBRA_DIR: '/opt/umbra', ...env },
  });

test.for<[node: string | undefined, npm: boolean, says: string]>([
  [undefined, false, 'Umbra needs Node.js 20 or later, and there is none: install it, and stack again'],
  ['v18.20.4', true, 'Umbra needs Node.js 20 or later, and this is 18.20.4: install it, and stack again'],
  ['v20.20.2', false, 'Umbra needs npm, and there is none beside Node.js 20.20.2: install it, and stack again'],
])('with Node.js %s and npm %s it builds nothing, and says why', async ([node, npm, says]) => {
  if (node !== undefined) await program('node', `echo ${node}`);
  if (npm) await program('npm', ':');
  expect(await install('')).toMatchObject({ code: 1, stderr: `[ERROR] ${says}\n` });
  expect(existsSync(join(folder, 'made'))).toBe(false);
});

test.for<[env: Readonly<Record<string, string>>, made: readonly string[]]>([
  [{}, ['-C /opt/umbra build', '-C /opt/umbra dist ARGS=--out /opt/umbra/programs']],
  [{ UMBRA_PROGRAMS: '/srv/programs' }, ['-C /opt/umbra build', '-C /opt/umbra dist ARGS=--out /srv/programs']],
  [{ UMBRA_NODE_PROGRAM: 'False' }, ['-C /opt/umbra build']],
])('%o makes %j', async ([env, made]) => {
  await program('node', 'echo v20.20.2');
  await program('npm', ':');
  expect(await install(`:${DEBIAN_PATH}`, env)).toMatchObject({ code: 0, stderr: '' });
  expect((await readFile(join(folder, 'made'), 'utf8')).trimEnd().split('\n')).toEqual(made);
});
