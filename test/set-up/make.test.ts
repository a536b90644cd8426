/** The Makefile and .ci/run: in a project of their own, whose tools write down that they were called. */
import { execFile } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

const ROOT = join(import.meta.dirname, '../..');
const LATER = new Date(Date.now() + 3_600_000);

let project = '';

beforeEach(() => {
  project = mkdtempSync(join(tmpdir(), 'umbra-make-'));
  for (const name of ['Makefile', '.ci', 'test/run']) cpSync(join(ROOT, name), join(project, name), { recursive: true });
  for (const name of ['package.json', 'package-lock.json', 'tsconfig.json', 'rolldown.config.ts', 'src/main.ts']) write(name, '');
  // What npm ci leaves behind: tools, and the file it writes last.
  tool('machine/npm', 'mkdir -p node_modules/.bin && cp tools/* node_modules/.bin/ && touch node_modules/.package-lock.json');
  tool('tools/rolldown', 'case "$*" in *--dir*) mkdir -p dist.tmp && cp src/*.ts dist.tmp ;; esac; test ! -e broken');
  tool('tools/tsc', 'test ! -e mistyped');
  tool('tools/vitest', 'test ! -e failing');
  tool('tools/oxlint', ':');
  tool('bin/umbra', ':');
  tool('bench/run', ':');
  tool('deploy/tarball/build', ':');
});
afterEach(() => rmSync(project, { recursive: true }));

function write(name: string, text: string, mode = 0o644): void {
  mkdirSync(dirname(join(project, name)), { recursive: true });
  writeFileSync(join(project, name), text, { mode });
}

/** A program that writes down its name and arguments, then does `script`. */
function tool(name: string, script: string): void {
  write(name, `#!/bin/sh\necho "${name.replace(/^.*\//, '')} $*" >>"${project}/calls"\n${script}\n`, 0o755);
}

/** Runs it; gives what it called. */
function calls(command: string, ...args: string[]): Promise<{ code: number | null; called: string[]; stdout: string }> {
  writeFileSync(join(project, 'calls'), '');
  const env = { PATH: `${join(project, 'machine')}:/usr/local/bin:/usr/bin:/bin` };
  return new Promise((resolve) => {
    const child = execFile(command, args, { cwd: project, env }, (_error, stdout) =>
      resolve({ code: child.exitCode, called: readFileSync(join(project, 'calls'), 'utf8').split('\n').slice(0, -1), stdout }),
    );
  });
}

const NPM = 'npm ci --no-audit --no-fund';
const BUILD = 'rolldown --config rolldown.config.ts --dir dist.tmp --log-level warn';
/** What test/run calls without arguments. */
const TESTS = ['e2e', 'stores', 'stores-e2e', `unit --maxWorkers=${availableParallelism()}`].map((name) => `vitest run --project ${name}`);

describe('make build', () => {
  test('installs and builds what is new, and nothing else', async () => {
    expect((await calls('make')).called).toEqual([NPM, BUILD]);
    expect(existsSync(join(project, 'dist/main.ts'))).toBe(true);
    expect((await calls('make', 'build')).called).toEqual([]);

    utimesSync(join(project, 'src/main.ts'), LATER, LATER);
    expect((await calls('make', 'build')).called).toEqual([BUILD]);
  });

  test('installs again when the lock file changed', async () => {
    await calls('make');
    utimesSync(join(project, 'package-lock.json'), LATER, LATER);
    expect((await calls('make', '-k', 'types')).called).toEqual([NPM, 'tsc --noEmit -p tsconfig.json']);
  });

  test('leaves nothing of a source that went', async () => {
    write('src/other.ts', '');
    await calls('make');
    expect(existsSync(join(project, 'dist/other.ts'))).toBe(true);
    rmSync(join(project, 'src/other.ts'));
    utimesSync(join(project, 'src'), LATER, LATER);
    await calls('make');
    expect(existsSync(join(project, 'dist/other.ts'))).toBe(false);
  });

  test('leaves the last build where a new one fails', async () => {
    await calls('make');
    write('broken', '');
    utimesSync(join(project, 'src/main.ts'), LATER, LATER);
    expect((await calls('make')).code).not.toBe(0);
    expect(existsSync(join(project, 'dist/main.ts'))).toBe(true);
    rmSync(join(project, 'broken'));
    expect(await calls('make')).toMatchObject({ code: 0, called: [BUILD] });
  });
});

describe('every target sets up what it needs', () => {
  test.each<[string[], string[]]>([
    [
      ['serve', 'ARGS=-c umbra.yaml'],
      [NPM, BUILD, 'umbra serve -c umbra.yaml'],
    ],
    [
      ['test', 'ARGS=--project unit'],
      [NPM, BUILD, 'vitest run --project unit'],
    ],
    [['lint'], [NPM, 'oxlint --type-aware --deny-warnings']],
    [['types'], [NPM, 'tsc --noEmit -p tsconfig.json']],
    [['bench'], [NPM, BUILD, 'run ']],
    [
      ['dist', 'ARGS=--arch arm64'],
      [NPM, BUILD, 'build --arch arm64'],
    ],
  ])('make %j', async (args, called) => {
    expect(await calls('make', ...args)).toMatchObject({ code: 0, called });
  });

  test('make test installs the system packages first', async () => {
    tool('test/services/install', ':');
    const { called } = await calls('make', 'test');
    expect(called.slice(0, 3)).toEqual([NPM, BUILD, 'install ']);
    // Some of them side by side.
    expect(called.slice(3).toSorted()).toEqual(TESTS);
  });

  test('make clean leaves sources and packages', async () => {
    await calls('make');
    write('programs/umbra-0.1.0-linux-amd64.tar.gz', '');
    await calls('make', 'clean');
    expect(['dist', 'programs', 'src', 'node_modules'].map((name) => existsSync(join(project, name)))).toEqual([false, false, true, true]);
  });
});

describe('test/run', () => {
  test('goes on behind a project that fails, and says it again at the end', async () => {
    await calls('make');
    write('failing', '');
    const { code, called, stdout } = await calls('make', 'test');
    expect(code).not.toBe(0);
    expect(called.toSorted()).toEqual(TESTS);
    expect(stdout.match(/^== failed: .*/gm)?.toSorted()).toEqual(['== failed: e2e', '== failed: stores', '== failed: stores-e2e', '== failed: unit']);
  });
});

describe('.ci/run', () => {
  test('builds, lints, checks types and tests, from any folder', async () => {
    const { code, called, stdout } = await calls('/bin/sh', '-c', `cd / && "${project}/.ci/run"`);
    expect(called.slice(0, 4)).toEqual([NPM, BUILD, 'oxlint --type-aware --deny-warnings', 'tsc --noEmit -p tsconfig.json']);
    expect(called.slice(4).toSorted()).toEqual(TESTS);
    expect([code, stdout.trimEnd().split('\n').at(-1)]).toEqual([0, '== all passed']);
  });

  test('stops at the first failure and says which', async () => {
    await calls('make');
    write('mistyped', '');
    const { code, called, stdout } = await calls('.ci/run');
    expect(called).toEqual(['oxlint --type-aware --deny-warnings', 'tsc --noEmit -p tsconfig.json']);
    expect([code, stdout.trimEnd().split('\n').at(-1)]).toEqual([1, '== failed: make types']);
  });
});
