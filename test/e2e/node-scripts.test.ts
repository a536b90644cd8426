/**
 * What a node's scripts do, run by the machine's own sh in a folder that stands for a node: the program is fetched and checked,
 * the runtimes are told beside what stands there, and `remove` leaves the node as it was. The program is the one
 * that make built, by way of a stub; its tarball is put to the test in tarball.test.ts.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve as resolvePath } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { filesBelow, program } from '../../src/clusters/render/formats/decoded.fixture.ts';
import type { Decoded } from '../../src/clusters/render/formats/decoded.fixture.ts';
import { INSTALL_SCRIPT } from '../../src/clusters/render/places.ts';
import { nodeModel } from '../../src/clusters/render/node-model.fixture.ts';
import type { NodeModel } from '../../src/clusters/render/node-model.ts';
import { render } from '../../src/clusters/render/render.ts';
import type { FormatName } from '../../src/clusters/render/render.ts';

const PROGRAM = resolvePath(import.meta.dirname, '../../bin/umbra');

const WITH_MACHINE = resolvePath(import.meta.dirname, '../services/with-machine');

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'umbra-node-'));
  mkdirSync(join(folder, 'root'));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** @returns a model whose program is a tarball in the folder */
function model(changes: Partial<NodeModel> = {}, { version = '0.1.0', inside = 'umbra-0.1.0/' } = {}): NodeModel {
  const made = join(folder, 'made', version);
  program(join(made, inside, 'bin/umbra'), `#!/bin/sh\nexec '${PROGRAM}' "$@"\n`);
  const tarball = join(folder, `umbra-${version}.tar.gz`);
  execFileSync('tar', ['-cf', tarball, '--mtime=@0', '--sort=name', '--use-compress-program=gzip -n', '-C', made, '.']);
  const sha256 = createHash('sha256').update(readFileSync(tarball)).digest('hex');
  const one = { url: `file://${tarball}`, sha256 };
  return nodeModel({ ...changes, program: { version, image: undefined, tarballs: { amd64: one, arm64: one } } });
}

function run(node: NodeModel, format: FormatName): { readonly status: number | null; readonly stderr: string } {
  const script = join(folder, 'script');
  writeFileSync(script, render(node, format).body);
  // The strictest that people have: what the registry and the runtimes read is not to be root's alone by it.
  const { status, stderr } = spawnSync('sh', ['-c', 'umask 077 && exec sh "$0"', script], { cwd: folder, encoding: 'utf8', env: { PATH: process.env['PATH'] ?? '', UMBRA_ROOT: join(folder, 'root') } });
  return { status, stderr };
}

function put(path: string, content: string): void {
  const at = join(folder, 'root', path);
  mkdirSync(dirname(at), { recursive: true });
  writeFileSync(at, content);
}

const files = (): Decoded => filesBelow(join(folder, 'root'));
const read = (path: string): string => files()[path]?.[1] ?? '';

const DAEMON = '{\n  "log-driver": "journald"\n}\n';
const CONTAINERD = 'version = 2\n[plugins."io.containerd.grpc.v1.cri"]\n  sandbox_image = "registry.k8s.io/pause:3.9"\n';

describe('a node', () => {
  beforeEach(() => {
    put('/etc/docker/daemon.json', DAEMON);
    put('/etc/containerd/config.toml', CONTAINERD);
    put('/usr/bin/dockerd', '');
    execFileSync('chmod', ['755', join(folder, 'root/usr/bin/dockerd')]);
  });

  test('is made by the shell format, and made again with no change', () => {
    expect(run(model(), 'shell')).toMatchObject({ status: 0 });
    expect(Object.keys(files())).toEqual(expect.arrayContaining(['/opt/umbra/0.1.0/bin/umbra', '/etc/umbra/umbra.yaml', '/etc/systemd/system/umbra.service', '/etc/containerd/certs.d/_default/hosts.toml']));
    expect(JSON.parse(read('/etc/docker/daemon.json'))).toEqual({ 'log-driver': 'journald', 'registry-mirrors': ['http://localhost:5000'], 'insecure-registries': ['registry.site.example.org:5000'] });
    expect(read('/etc/containerd/config.toml')).toContain(CONTAINERD);
    expect(read('/etc/containerd/config.toml')).toContain('config_path = "/etc/containerd/certs.d"');
    expect(files()['/etc/umbra/bootstrap-token']?.[0]).toBe(0o600);
    for (const path of ['umbra', 'containers/registries.conf.d', 'containerd/certs.d', 'containerd/certs.d/_default', 'systemd/system']) expect([path, statSync(join(folder, 'root/etc', path)).mode & 0o777]).toEqual([path, 0o755]);
    const before = files();
    expect(run(model(), 'shell')).toMatchObject({ status: 0 });
    expect(files()).toEqual(before);
  });

  test('is as it was after remove, also with what it had at another time', () => {
    const before = files();
    expect(run(model({ upstreams: ['docker.io', 'quay.io', 'ghcr.io'] }), 'shell')).toMatchObject({ status: 0 });
    expect(run(model({ upstreams: ['docker.io', 'quay.io'] }), 'shell')).toMatchObject({ status: 0 });
    expect(Object.keys(files()).filter((path) => path.includes('ghcr.io'))).toEqual([]);
    expect(run(model(), 'remove')).toMatchObject({ status: 0 });
    expect(files()).toEqual(before);
    expect(run(model(), 'remove')).toMatchObject({ status: 0 });
    expect(files()).toEqual(before);
  });

  test('loses its credential and its cache with remove', () => {
    run(model(), 'shell');
    const folders = ['/var/lib/umbra', '/var/cache/umbra', '/var/lib/private/umbra', '/var/cache/private/umbra'];
    for (const folder of folders) put(`${folder}/x`, 'x');
    expect(run(model(), 'remove')).toMatchObject({ status: 0 });
    expect(Object.keys(files()).filter((path) => folders.some((folder) => path.startsWith(folder)))).toEqual([]);
  });

  test('keeps what somebody has changed since', () => {
    run(model(), 'shell');
    const changed = `${read('/etc/containerd/certs.d/_default/hosts.toml')}# mine\n`;
    put('/etc/containerd/certs.d/_default/hosts.toml', changed);
    expect(run(model(), 'remove')).toMatchObject({ status: 0 });
    expect(read('/etc/containerd/certs.d/_default/hosts.toml')).toBe(changed);
  });

  test('is upgraded, with its token left alone', () => {
    run(model(), 'shell');
    put('/etc/umbra/bootstrap-token', 'used');
    const next = model({}, { version: '0.2.0', inside: '' });
    expect(run(next, 'upgrade')).toMatchObject({ status: 0 });
    expect(read('/etc/umbra/bootstrap-token')).toBe('used');
    expect(read('/etc/systemd/system/umbra.service')).toContain('ExecStart=/opt/umbra/0.2.0/bin/umbra serve');
    expect(read('/opt/umbra/0.2.0/bin/umbra')).toContain('exec');
  });

  test('is not given a program that is another than was meant', () => {
    const node = model();
    const tampered = { ...node.program.tarballs.amd64, url: node.program.tarballs.amd64?.url ?? '', sha256: 'ab'.repeat(32) };
    const { status, stderr } = run({ ...node, program: { ...node.program, tarballs: { amd64: tampered, arm64: tampered } } }, 'shell');
    expect(status).not.toBe(0);
    expect(stderr).toMatch(/is not what it should be: its SHA-256 is another/);
    expect(Object.keys(files()).filter((path) => path.startsWith('/opt/'))).toEqual([]);
  });

  test('keeps, for containerd, what else is said of its plugin, wherever that is', () => {
    put('/etc/containerd/config.toml', `imports = ["/etc/containerd/conf.d/*.toml"]\n${CONTAINERD}`);
    for (const imported of ['', '[plugins."io.containerd.grpc.v1.cri"]\n  sandbox_image = "registry.example.org/pause:1"\n']) {
      put('/etc/containerd/conf.d/10-cri.toml', imported);
      expect(run(model(), 'shell')).toMatchObject({ status: 0 });
      const dump = execFileSync(WITH_MACHINE, [join(folder, 'root'), 'containerd', 'config', 'dump'], { encoding: 'utf8' });
      expect(dump).toContain(`sandbox_image = "${imported === '' ? 'registry.k8s.io/pause:3.9' : 'registry.example.org/pause:1'}"`);
      expect(dump).toContain('config_path = "/etc/containerd/certs.d"');
    }
  });

  test('says what cannot be told to its runtimes, and tells the others', () => {
    put('/etc/containerd/config.toml', 'version = 1\n');
    const { status, stderr } = run(model(), 'shell');
    expect(status).toBe(1);
    expect(stderr).toMatch(/version is 1, expected 2 or 3/);
    expect(JSON.parse(read('/etc/docker/daemon.json'))).toHaveProperty('registry-mirrors');
  });
});

test('a node of Swarm has dockerd told, though it is not there yet', () => {
  expect(run(model({ cluster: { ...nodeModel().cluster, coe: 'swarm-mode' } }), 'shell')).toMatchObject({ status: 0 });
  expect(JSON.parse(read('/etc/docker/daemon.json'))).toEqual({ 'registry-mirrors': ['http://localhost:5000'], 'insecure-registries': ['registry.site.example.org:5000'] });
  expect(Object.keys(files()).filter((path) => path.startsWith('/etc/containerd'))).toEqual([]);
});

test('a tar is unpacked, and its script run', () => {
  const node = model();
  writeFileSync(join(folder, 'a.tar'), render(node, 'tar').body);
  execFileSync('tar', ['-xpf', join(folder, 'a.tar'), '--no-same-owner'], { cwd: join(folder, 'root') });
  execFileSync('sh', [join(folder, 'root/etc/umbra/install')], { env: { PATH: process.env['PATH'] ?? '', UMBRA_ROOT: join(folder, 'root') }, stdio: 'pipe' });
  expect(Object.keys(files())).toContain('/opt/umbra/0.1.0/bin/umbra');
});

describe('a node with systemd', () => {
  const FOLDERS = ['etc', 'opt', 'run', 'var/lib', 'var/cache'];
  const ENABLED = ['daemon-reload', 'enable --quiet umbra-install.service umbra.service'];
  let active: readonly string[] = [];

  /** As root of the node, whose folders are seen in the place of this machine's. @returns what systemctl was told to do */
  function onNode(...words: readonly string[]): readonly string[] {
    const { status, stderr, told } = tried(...words);
    expect([status, stderr]).toEqual([0, expect.anything()]);
    return told;
  }

  function tried(...words: readonly string[]): { readonly status: number | null; readonly stderr: string; readonly told: readonly string[] } {
    const [log, bin] = [join(folder, 'systemctl.log'), join(folder, 'bin')];
    writeFileSync(log, '');
    mkdirSync(bin, { recursive: true });
    writeFileSync(join(bin, 'systemctl'), `#!/bin/sh\nif [ "$1" = is-active ]; then case ' ${active.join(' ')} ' in *" $3 "*) exit 0 ;; *) exit 3 ;; esac; fi\necho "$*" >>'${log}'\n`, { mode: 0o755 });
    for (const each of [...FOLDERS, 'run/systemd/system']) mkdirSync(join(folder, 'root', each), { recursive: true });
    const mounts = FOLDERS.map((each) => `mount --bind '${join(folder, 'root', each)}' '/${each}'`).join(' && ');
    const { status, stderr } = spawnSync('unshare', ['--mount', 'sh', '-c', `${mounts} && exec "$@"`, 'sh', 'sh', ...words], { cwd: folder, encoding: 'utf8', env: { PATH: `${bin}:${process.env['PATH'] ?? ''}` } });
    return { status, stderr, told: readFileSync(log, 'utf8').split('\n').filter((line) => line !== '') };
  }

  function onNodeAs(node: NodeModel, format: FormatName): readonly string[] {
    const script = join(folder, 'script');
    writeFileSync(script, render(node, format).body);
    return onNode(script);
  }

  beforeEach(() => {
    active = ['containerd'];
    put('/etc/containerd/config.toml', CONTAINERD);
  });

  test('starts its registry, and restarts containerd where its configuration changed, once', () => {
    expect(onNodeAs(model(), 'shell')).toEqual([...ENABLED, 'restart containerd', 'restart umbra.service']);
    active = ['containerd', 'umbra.service'];
    expect(onNodeAs(model(), 'shell')).toEqual([]);
    // What containerd reads at each pull takes no restart of it; what the registry reads does.
    expect(onNodeAs(model({ upstreams: ['docker.io', 'quay.io', 'ghcr.io'] }), 'shell')).not.toContain('restart containerd');
  });

  test('goes on trying where its program cannot be fetched at first', () => {
    const node = model();
    const script = join(folder, 'script');
    writeFileSync(script, render(node, 'shell').body);
    renameSync(join(folder, 'umbra-0.1.0.tar.gz'), join(folder, 'away'));
    const { status, stderr, told } = tried(script);
    expect(told).toEqual([...ENABLED, '--no-block start umbra-install.service']);
    expect([status === 0, stderr]).toEqual([false, expect.stringMatching(/umbra-install\.service goes on trying/)]);
    // As its unit does, again and again, whatever came of it.
    expect(tried(INSTALL_SCRIPT, 'boot')).toMatchObject({ status, told: [] });
    renameSync(join(folder, 'away'), join(folder, 'umbra-0.1.0.tar.gz'));
    expect(onNode(INSTALL_SCRIPT, 'boot')).toEqual(['--no-block restart containerd', '--no-block start umbra.service']);
    expect(Object.keys(files()).filter((path) => path.startsWith('/opt/'))).toEqual(['/opt/umbra/0.1.0/bin/umbra']);
    expect(read('/etc/systemd/system/umbra-install.service')).toMatch(/^StartLimitIntervalSec=0$[^]*^Restart=on-failure$/m);
  });

  test('keeps the registry that it has where an upgrade cannot be fetched', () => {
    onNodeAs(model(), 'shell');
    active = ['containerd', 'umbra.service', 'umbra-install.service'];
    const script = join(folder, 'script');
    writeFileSync(script, render(model({}, { version: '0.2.0', inside: '' }), 'upgrade').body);
    rmSync(join(folder, 'umbra-0.2.0.tar.gz'));
    const { status, stderr, told } = tried(script);
    expect([status === 0, told, stderr]).toEqual([false, [], expect.stringMatching(/stays as it was, until this is run again/)]);
  });

  test('waits at boot for nobody who waits for it', () => {
    onNodeAs(model(), 'shell');
    expect(onNode(INSTALL_SCRIPT, 'boot')).toEqual(['--no-block start umbra.service']);
    put('/etc/containerd/config.toml', CONTAINERD);
    expect(onNode(INSTALL_SCRIPT, 'boot')).toEqual(['--no-block restart containerd', '--no-block start umbra.service']);
  });

  test('runs the new program after an upgrade, and no other is left', () => {
    onNodeAs(model(), 'shell');
    active = ['containerd', 'umbra.service'];
    expect(onNodeAs(model({}, { version: '0.2.0', inside: '' }), 'upgrade')).toContain('restart umbra.service');
    expect(new Set(Object.keys(files()).filter((path) => path.startsWith('/opt/umbra/')).map((path) => path.split('/')[3]))).toEqual(new Set(['0.2.0']));
  });

  test('tells its runtimes before its registry goes', () => {
    onNodeAs(model(), 'shell');
    expect(onNodeAs(model(), 'remove')).toEqual(['restart containerd', 'disable --quiet --now umbra.service umbra-install.service', 'daemon-reload']);
    expect(read('/etc/containerd/config.toml')).toBe(CONTAINERD);
  });
});
