/**
 * What `make dist` packs, from the cluster service to a node: fetched, checked and unpacked by the node's own script, and run
 * on a machine that has nothing of what it needs but the C library, GCC's and a shell: no Node.js, no npm, no libatomic.
 */
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { cp, mkdir, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { hash as bcrypt } from '@node-rs/bcrypt';
import { stringify } from 'yaml';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Exchange } from '../../src/clusters/api/exchange.ts';
import { createPrograms, type Program } from '../../src/clusters/api/programs.ts';
import { nodeModel } from '../../src/clusters/render/node-model.fixture.ts';
import { render } from '../../src/clusters/render/render.ts';
import { DEBIAN_PATH, run } from '../services/command.ts';
import { Daemon } from '../services/daemon.ts';
import { freePort } from '../services/ports.ts';
import { makeImage } from './images.ts';
import { nodeUnderSystemd } from './node-systemd.contract.ts';
import { RegistryClient } from './registry-client.ts';

const ROOT = join(import.meta.dirname, '../..');
/** Runs a program below a folder, without any environment; its mounts do not outlive it. */
const ELSEWHERE = ['unshare', '--mount', 'sh', '-c', 'for at in dev proc; do mount --rbind /$at "$0/$at"; done; exec chroot "$0" /bin/busybox env -i "$@"'];

let dir = '';
let programs: string;
let server: Server;
let packed: Program;
let version = '';
let said = '';

/** @returns what it prints */
function build(out: string, umask: string): Promise<string> {
  // Proxies and authorities of the machine are for those who download.
  const env = { ...(process.env as Record<string, string>), PATH: `${dirname(process.execPath)}:${DEBIAN_PATH}`, TMPDIR: dir };
  return run('sh', ['-c', `umask ${umask}; exec "$0" --out "$1"`, join(ROOT, 'deploy/tarball/build'), out], { env, timeoutMs: 150_000 });
}

beforeAll(async () => {
  dir = join(tmpdir(), `u.${randomBytes(4).toString('hex')}`);
  await mkdir(dir, { mode: 0o755 });
  programs = join(dir, 'programs');
  version = (JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as { version: string }).version;
  said = await build(programs, '022');
  const served = createPrograms(programs);
  packed = (await served.of(version))[0] as Program; // looked at below
  server = createServer((req, res) => {
    const x = new Exchange(req, res, { requestId: 'r', base: '', expectsContinue: false });
    void served.resource(x, x.path.slice(2)).catch(() => res.destroy());
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
});
afterAll(async () => {
  server?.close();
  await rm(dir, { recursive: true });
});

const url = (): string => `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/program/${packed.sha256}`;

describe('the tarball', () => {
  test('is told by its digest, as sha256sum reads it', () => expect(said).toBe(`${packed.sha256}  umbra-${version}-linux-${packed.architecture}.tar.gz\n`));

  test('is the same, to the byte, when it is packed again by somebody else', async () => {
    await build(join(dir, 'again'), '077');
    const [name = ''] = await readdir(programs);
    expect(await readdir(join(dir, 'again'))).toEqual([name]);
    expect(createHash('sha256').update(await readFile(join(dir, 'again', name))).digest('hex')).toBe(packed.sha256);
  });

  test('belongs to root, in one folder, in order, readable by everybody', async () => {
    const [name = ''] = await readdir(programs);
    const lines = (await run('tar', ['--numeric-owner', '--full-time', '-tvzf', join(programs, name)])).trimEnd().split('\n');
    const facts = lines.map((line) => /^(\S+) (\S+) +\d+ (\S+ \S+) (\S+)/.exec(line)?.slice(1) ?? [line]);
    expect(new Set(facts.map(([mode]) => mode))).toEqual(new Set(['drwxr-xr-x', '-rwxr-xr-x', '-rw-r--r--', 'lrwxr-xr-x']));
    expect([new Set(facts.map(([, owner]) => owner)), new Set(facts.map(([, , at]) => at)).size]).toEqual([new Set(['0/0']), 1]);
    const paths = facts.map(([, , , path = '']) => path.replace(/\/$/, ''));
    expect(new Set(paths.map((path) => path.split('/')[0]))).toEqual(new Set([`umbra-${version}`]));
    expect(new Set(paths.map((path) => path.split('/')[1]))).toEqual(new Set([undefined, 'LICENSE', 'bin', 'dist', 'lib', 'node_modules', 'package.json']));
    expect(paths.filter((path) => path.endsWith('.map'))).toEqual([]);
  });

  test('is what the cluster service gives', async () => {
    const [name = ''] = await readdir(programs);
    const bytes = Buffer.from(await (await fetch(url())).arrayBuffer());
    expect(bytes.equals(await readFile(join(programs, name)))).toBe(true);
  });
});

describe('on a node', () => {
  let root = '';
  let umbra = '';
  beforeAll(async () => {
    root = join(dir, 'root');
    for (const folder of ['bin', 'dev', 'proc', 'tmp', 'etc/containerd', 'data']) await mkdir(join(root, folder), { recursive: true });
    await writeFile(join(root, 'etc/containerd/config.toml'), 'version = 2\n');
    await cp('/bin/busybox', join(root, 'bin/busybox'));
    for (const tool of ['sh', 'readlink', 'uname']) await symlink('busybox', join(root, 'bin', tool));
    const own = (path: string): string => join(ROOT, 'node_modules', path);
    const native = (await readdir(own('@node-rs'), { recursive: true })).filter((name) => name.endsWith('.node'));
    const linked = await run('ldd', [process.execPath, ...native.map((name) => own(join('@node-rs', name)))]);
    const libraries = Array.from(linked.matchAll(/(?:=> |^\s+)(\/\S+) \(/gm), ([, path = '']) => path).filter((path) => !path.includes('libatomic'));
    for (const path of libraries) await cp(path, join(root, path), { dereference: true });
    umbra = `/opt/umbra/${version}/bin/umbra`;
  });

  test('is fetched and unpacked by its script, to where its unit looks', async () => {
    const tarball = { url: url(), sha256: packed.sha256 };
    const model = nodeModel({ program: { version, image: undefined, tarballs: { [packed.architecture]: tarball } } });
    await writeFile(join(dir, 'script'), render(model, 'shell').body);
    // The program of the tarball is what tells the runtimes.
    await run('sh', [join(dir, 'script')], { env: { UMBRA_ROOT: root } });
    expect(await readFile(join(root, 'etc/systemd/system/umbra.service'), 'utf8')).toContain(`ExecStart=${umbra} serve`);
    expect(await readFile(join(root, 'etc/containerd/certs.d/docker.io/hosts.toml'), 'utf8')).toContain('http://localhost:5000');
  });

  test('runs on its own Node.js, found without any environment', async () => {
    const [program = '', ...args] = ELSEWHERE;
    const told = await run(program, [...args, root, umbra, 'version', '--json']);
    expect(JSON.parse(told)).toMatchObject({ umbra: version, node: process.version });
  });

  test('serves what is pushed to it, to those who may', async () => {
    const port = await freePort();
    // A hash of bcrypt is for native code.
    const users = [{ name: 'ci', passwordHash: await bcrypt('pw of ci', 4), access: 'push' }];
    await writeFile(join(root, 'etc/umbra.yaml'), stringify({ listeners: [{ address: `localhost:${port}` }], storage: { driver: 'filesystem', root: '/data/images' }, upstreams: {}, auth: { keyFile: '/data/key', anonymous: 'none', users }, workers: 2 }));
    await using _ = await Daemon.start({ command: [...ELSEWHERE, root, umbra, 'serve', '-c', '/etc/umbra.yaml'], ready: (output) => /^umbra: ready\b/m.test(output) });
    await using client = new RegistryClient(`http://localhost:${port}`, { username: 'ci', password: 'pw of ci' });
    const image = await makeImage({ marker: 'without anything' });
    await client.push('org/app', '1', image);
    expect((await client.getManifest('org/app', '1')).digest).toBe(image.digest);
    for (const digest of image.blobs.keys()) expect((await client.getBlob('org/app', digest)).digest).toBe(digest);
    await using wrong = new RegistryClient(`http://localhost:${port}`, { username: 'ci', password: 'another' });
    expect((await wrong.getManifest('org/app', '1')).status).toBe(401);
  });
});

nodeUnderSystemd(() => ({ version, image: undefined, tarballs: { [packed.architecture]: { url: url(), sha256: packed.sha256 } } }), () => join(dir, 'systemd'));
