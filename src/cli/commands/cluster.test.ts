import { lstatSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { FORMATS } from '../../clusters/render/render.ts';
import { createOutput } from '../output.ts';
import { run } from '../program.ts';

const CLUSTER = `uuid: 5f0e7a1c-3a54-4a3e-9d0a-0d5a1c2b3d4e
name: c
coe: kubernetes
storage: {}
bootstrap: { url: "https://clusters.example.org", token: "\${TOKEN}" }
program:
  version: 0.1.0
  image: registry.example.org/umbra:0.1.0
  amd64: { url: "https://example.org/umbra.tar.gz", sha256: ${'ab'.repeat(32)} }
`;

let cwd = '';
beforeAll(() => {
  cwd = mkdtempSync(join(tmpdir(), 'umbra-cluster-'));
  writeFileSync(join(cwd, 'cluster.yaml'), CLUSTER);
});
afterAll(() => rmSync(cwd, { recursive: true }));

async function umbra(...args: string[]): Promise<{ code: number; stdout: Buffer; stderr: string }> {
  const stdout: Uint8Array[] = [];
  let stderr = '';
  const output = createOutput({ write: (bytes: string | Uint8Array) => stdout.push(Buffer.from(bytes)) }, { write: (text) => (stderr += String(text)) });
  const code = await run(['cluster', 'render', ...args], { cwd, env: { TOKEN: 'T0KEN' }, processors: 2, output }, { umbra: '0', node: '0', platform: 'none' });
  return { code, stdout: Buffer.concat(stdout), stderr };
}

test('one role in one format goes to stdout, byte for byte', async () => {
  const made = await umbra('-f', 'cluster.yaml', '--role', 'worker', '--format', 'tar');
  expect(made).toMatchObject({ code: 0, stderr: '' });
  await umbra('-f', 'cluster.yaml', '--role', 'worker', '--format', 'tar', '-o', 'one');
  expect(readFileSync(join(cwd, 'one/worker.tar')).equals(made.stdout)).toBe(true);
  expect(made.stdout.toString()).toContain('T0KEN');
});

test('all of them go into a folder, for nobody else to read', async () => {
  const { code, stdout } = await umbra('-f', 'cluster.yaml', '-o', 'all');
  const names = readdirSync(join(cwd, 'all'));
  expect([code, names.length]).toEqual([0, 2 * FORMATS.length]);
  expect(stdout.toString().trim().split('\n').toSorted()).toEqual(names.map((name) => `all/${name}`).toSorted());
  for (const name of names) expect(statSync(join(cwd, 'all', name)).mode & 0o777).toBe(0o600);
});

test('a file that somebody put in the way is not written through', async () => {
  mkdirSync(join(cwd, 'shared'));
  writeFileSync(join(cwd, 'theirs'), '', { mode: 0o644 });
  symlinkSync(join(cwd, 'theirs'), join(cwd, 'shared/worker.tar.new'));
  expect((await umbra('-f', 'cluster.yaml', '--role', 'worker', '--format', 'tar', '-o', 'shared')).code).toBe(0);
  expect([readFileSync(join(cwd, 'theirs'), 'utf8'), lstatSync(join(cwd, 'shared/worker.tar')).mode & 0o777]).toEqual(['', 0o600]);
});

test('a credential in clear is warned of, on stderr', async () => {
  writeFileSync(join(cwd, 'clear.yaml'), CLUSTER.replace(/bootstrap: .*/, 'credential: { url: "https://k.example.org", username: u, password: p, project: x }'));
  expect((await umbra('-f', 'clear.yaml', '--role', 'worker', '--format', 'shell')).stderr).toMatch(/^umbra: the credential stands in what is rendered/);
});

describe('what cannot be is said', () => {
  test.each<[string[], string]>([
    [[], "required option '-f, --file <file>' not specified"],
    [['-f', 'cluster.yaml'], 'on stdout there is room for one: give --role master or worker'],
    [['-f', 'cluster.yaml', '--role', 'minion'], '--role minion: expected master, worker'],
    [['-f', 'cluster.yaml', '--role', 'worker', '--format', 'floppy'], '--format floppy: expected cloud-init'],
  ])('of %j: %s', async (args, message) => {
    const { code, stdout, stderr } = await umbra(...args);
    expect([code, stdout.length]).toEqual([2, 0]);
    expect(stderr).toContain(message);
  });

  test.each<[string, RegExp | string, string, string]>([
    ['uuid', /uuid: .*/, 'uuid: nope', 'wrong.yaml:1: uuid: expected a UUID'],
    ['coe', 'kubernetes', 'mesos', 'wrong.yaml:3: coe: expected one of kubernetes, swarm, swarm-mode, got "mesos"'],
    ['port', 'name: c', 'name: c\nport: 80', 'wrong.yaml:3: port: expected a port from 1024 to 65535, got 80'],
    ['port of etcd', 'name: c', 'name: c\nport: 2379', 'expected another port: 2379 is that of etcd'],
    ['port of Swarm', 'name: c', 'name: c\nport: 2377', 'expected another port: 2377 is that of Swarm'],
    ['port as text', 'name: c', 'name: c\nport: "5000"', 'port: expected a number, got "5000"'],
    ['unknown', 'name: c', 'name: c\npolcy: proxy', 'polcy: unknown key; did you mean "policy"?'],
    ['upstream', 'name: c', 'name: c\nupstreams: [hub]', 'upstreams[0]: expected a registry host'],
    ['sha256', /sha256: ./, 'sha256: x', 'program.amd64.sha256: expected 64 hexadecimal digits'],
    ['program', /program:[^]*/, 'program: { version: 1.0.0 }', 'program: missing: amd64, arm64 or both'],
    ['no login', /bootstrap: .*/, '', 'missing: bootstrap (where nodes exchange'],
    ['two logins', 'storage: {}', 'storage: {}\ncredential: { url: "https://k.example.org" }', 'credential: expected bootstrap or credential, got both'],
    ['credential', /bootstrap: .*/, 'credential: { url: "https://k.example.org", username: u, password: p }', 'credential.project: missing: the project'],
    ['no token', /, token: [^ ]*/, '', 'bootstrap.token: missing: token or tokenFile'],
    ['token', /token: [^ ]*/, 'token: "a b"', 'bootstrap.token: expected a token, without spaces'],
    ['ca', 'storage: {}', 'storage: { ca: nothing.pem }', 'wrong.yaml:4: storage.ca: '],
    ['name', 'name: c', 'name: "a\\nb"', 'name: expected one line of text'],
  ])('in the file, of %s', async (_, was, is, message) => {
    writeFileSync(join(cwd, 'wrong.yaml'), CLUSTER.replace(was, is));
    const { code, stdout, stderr } = await umbra('-f', 'wrong.yaml', '--role', 'worker', '--format', 'shell');
    expect(stderr).toContain(message);
    expect([code, stdout.length]).toEqual([1, 0]);
  });

  test('several at once, with no secret repeated', async () => {
    writeFileSync(join(cwd, 'wrong.yaml'), CLUSTER.replace('kubernetes', 'mesos').replace('${TOKEN}', 's3cret word'));
    const { stderr } = await umbra('-f', 'wrong.yaml', '--role', 'worker', '--format', 'shell');
    expect(stderr.trim().split('\n')).toHaveLength(2);
    expect(stderr).not.toContain('s3cret');
  });
});
