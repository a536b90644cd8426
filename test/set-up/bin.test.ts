/** bin/umbra: in a project of its own, whose program says how it was run. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';

const ROOT = join(import.meta.dirname, '../..');
/** The fixture that stands for dist/main.js. */
const PROGRAM = `
process.on('SIGTERM', () => { console.log('SIGTERM'); process.exit(3); });
console.log(JSON.stringify({ pid: process.pid, node: process.argv0, args: process.argv.slice(2), cwd: process.cwd(), cache: process.env.NODE_COMPILE_CACHE, libraries: process.env.LD_LIBRARY_PATH }));
if (process.argv[2] === 'wait') setInterval(() => {}, 1000);
`;

interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

interface Said {
  readonly pid: number;
  readonly node: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly cache: string | undefined;
  readonly libraries: string | undefined;
}

let base = '';
let project = '';
/** Has the tools that a bare machine has, and no node. */
let tools = '';

beforeAll(() => {
  base = mkdtempSync(join(tmpdir(), 'umbra bin '));
  tools = join(base, 'tools');
  mkdirSync(tools);
  for (const tool of ['sh', 'readlink', 'uname']) symlinkSync(join('/bin', tool), join(tools, tool));
});
afterAll(() => rmSync(base, { recursive: true }));

beforeEach(() => {
  project = mkdtempSync(join(base, 'project '));
  mkdirSync(join(project, 'dist'), { recursive: true });
  writeFileSync(join(project, 'package.json'), '{ "type": "module" }');
  writeFileSync(join(project, 'dist/main.js'), PROGRAM);
  cpSync(join(ROOT, 'bin'), join(project, 'bin'), { recursive: true, verbatimSymlinks: true });
  const brought = join(project, `node_modules/node-linux-${process.arch}/bin`);
  mkdirSync(brought, { recursive: true });
  symlinkSync(process.execPath, join(brought, 'node'));
});

function run(
  command: string,
  args: readonly string[] = [],
  options: { readonly cwd?: string; readonly env?: Readonly<Record<string, string>> } = {},
): Promise<Ran> {
  return new Promise((resolve) => {
    const child = execFile(command, args, { cwd: options.cwd ?? '/', env: { PATH: tools, ...options.env } }, (_error, stdout, stderr) =>
      resolve({ code: child.exitCode, stdout, stderr }),
    );
  });
}

function said({ code, stdout, stderr }: Ran): Said {
  expect([code, stderr]).toEqual([0, '']);
  return JSON.parse(stdout) as Said; // PROGRAM above
}

describe('it is found and runs where its caller stands', () => {
  const link = (target: string, name: string): string => {
    const path = join(project, name);
    mkdirSync(dirname(path), { recursive: true });
    symlinkSync(target, path);
    return path;
  };
  test.each<[string, () => [command: string, args?: string[], cwd?: string]]>([
    ['by its path', () => [join(project, 'bin/umbra')]],
    ['by a relative path', () => ['bin/umbra', [], project]],
    ['from its own folder', () => ['./umbra', [], join(project, 'bin')]],
    ['by a shell, without a slash', () => ['sh', ['umbra'], join(project, 'bin')]],
    ['through an absolute link', () => [link(join(project, 'bin/umbra'), 'elsewhere/link')]],
    ['through a relative link', () => [link('../../bin/umbra', 'else/where/link')]],
    ['through links to links', () => [link(link('../bin/umbra', 'a/first'), 'b/second')]],
    ['through a linked folder', () => [join(link(join(project, 'bin'), 'folder'), 'umbra')]],
  ])('%s', async (_, how) => {
    const [command, args = [], cwd = '/'] = how();
    const { args: seen, cwd: stood } = said(await run(command, [...args, 'a b', '', '*', '--help'], { cwd }));
    expect([seen, stood]).toEqual([['a b', '', '*', '--help'], cwd]);
  });

  test('on the search path', async () => {
    said(await run('sh', ['-c', 'umbra x'], { env: { PATH: `${project}/bin:${tools}` } }));
  });
});

describe('as a zuul-registry it has that command line', () => {
  test.each<[string, () => string]>([
    ['by its own name', () => join(project, 'bin/zuul-registry')],
    ['through a link of its name', () => { symlinkSync('bin/umbra', join(project, 'zuul-registry')); return join(project, 'zuul-registry'); }],
    ['through a link of another name', () => { symlinkSync('bin/zuul-registry', join(project, 'registry')); return join(project, 'registry'); }],
  ])('%s', async (_, link) => {
    expect(said(await run(link(), ['-d', 'prune'])).args).toEqual(['zuul-registry', '-d', 'prune']);
  });

  test('a folder of that name changes nothing', async () => {
    mkdirSync(join(base, 'zuul-registry'), { recursive: true });
    const link = join(base, 'zuul-registry/umbra');
    rmSync(link, { force: true });
    symlinkSync(join(project, 'bin/umbra'), link);
    expect(said(await run(link, ['x'])).args).toEqual(['x']);
  });
});

test('it becomes the program, so that signals reach it and the exit code is its own', async () => {
  const child = spawn(join(project, 'bin/umbra'), ['wait'], { env: { PATH: tools }, stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(child, 'exit');
  const chunks = child.stdout[Symbol.asyncIterator]();
  const { pid } = JSON.parse(String((await chunks.next()).value)) as Said; // PROGRAM above
  expect(pid).toBe(child.pid);
  child.kill('SIGTERM');
  expect(String((await chunks.next()).value)).toBe('SIGTERM\n');
  expect(await ended).toEqual([3, null]);
});

describe('which Node.js', () => {
  const forget = (): void => rmSync(join(project, 'node_modules'), { recursive: true });

  test('the one that npm ci brought, whatever is on the path', async () => {
    writeFileSync(join(project, 'bin/node'), '#!/bin/sh\nexit 9\n', { mode: 0o755 });
    said(await run(join(project, 'bin/umbra'), [], { env: { PATH: `${project}/bin:${tools}` } }));
  });

  test('else the one on the path', async () => {
    forget();
    const { node } = said(await run(join(project, 'bin/umbra'), [], { env: { PATH: `${dirname(process.execPath)}:${tools}` } }));
    expect(node).toBe(process.execPath);
  });

  test('none: it says what to do', async () => {
    forget();
    const message = `umbra needs Node 24 or later, and there is none: run "npm ci" in ${project}, which brings one\n`;
    expect(await run(join(project, 'bin/umbra'))).toEqual({ code: 1, stdout: '', stderr: message });
  });
});

test('not built: it says what to do', async () => {
  rmSync(join(project, 'dist'), { recursive: true });
  expect(await run(join(project, 'bin/umbra'))).toEqual({
    code: 1,
    stdout: '',
    stderr: `umbra is not built: run "make build" in ${project}\n`,
  });
});

test('compiled code is kept in the project, or where the caller says', async () => {
  const umbra = join(project, 'bin/umbra');
  expect(said(await run(umbra)).cache).toBe(join(project, '.cache/compiled'));
  expect(said(await run(umbra, [], { env: { NODE_COMPILE_CACHE: join(project, 'mine') } })).cache).toBe(join(project, 'mine'));
});

test('libraries that were packed along are found first; where there are none, nothing is said of them', async () => {
  const umbra = join(project, 'bin/umbra');
  expect(said(await run(umbra)).libraries).toBeUndefined();
  mkdirSync(join(project, 'lib'));
  expect(said(await run(umbra)).libraries).toBe(join(project, 'lib'));
  expect(said(await run(umbra, [], { env: { LD_LIBRARY_PATH: '/mine' } })).libraries).toBe(`${join(project, 'lib')}:/mine`);
});

describe('the program itself, src/cli/main.ts', () => {
  const main = join(ROOT, 'src/cli/main.ts');

  /** Makes a Node.js say that it is another version. */
  const pretend = (version: string): string =>
    `data:text/javascript,Object.defineProperty(process,'versions',{value:{...process.versions,node:'${version}'}});Object.defineProperty(process,'version',{value:'v${version}'})`;

  test.each(['20.20.2', '23.9.0'])('says so when it is started with Node %s', async (version) => {
    const message = `umbra needs Node 24 or later, this is v${version}; start it as bin/umbra, with the one that npm ci brings\n`;
    expect(await run(process.execPath, ['--import', pretend(version), main, 'version'])).toEqual({ code: 1, stdout: '', stderr: message });
  });

  test('runs on Node 24', async () => {
    expect(await run(process.execPath, ['--import', pretend('24.0.0'), main, 'version'])).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('(node v24.0.0, '),
    });
  });

  test('an old Node.js gets as far as that message: nothing of ours or of npm is loaded before', () => {
    const imports = [...readFileSync(main, 'utf8').matchAll(/^import .* from '(.*)';$/gm)].map(([, from]) => from);
    expect(imports.length).toBeGreaterThan(0);
    expect(imports.filter((from) => !from?.startsWith('node:'))).toEqual([]);
  });

  test('is quiet when its reader stops early', async () => {
    const child = spawn(process.execPath, [main, 'config', 'schema'], { stdio: ['ignore', 'pipe', 'pipe'] });
    child.stdout.destroy();
    const [stderr, [code]] = await Promise.all([text(child.stderr), once(child, 'close')]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  });
});
