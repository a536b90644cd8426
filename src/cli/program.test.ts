import { X509Certificate } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { FakeContent } from '../../test/support/fake-content.ts';
import { openFilesystem } from '../drivers/filesystem/filesystem.ts';
import { writeDistribution } from '../migrate/source.fixture.ts';
import { createOutput, formatColumns } from './output.ts';
import { run } from './program.ts';

const VERSIONS = { umbra: '1.2.3', node: 'v26.0.0', platform: 'linux-x64' };

let cwd = '';
beforeAll(() => {
  cwd = mkdtempSync(join(tmpdir(), 'umbra-cli-'));
  writeFileSync(join(cwd, 'good.yaml'), 'workers: 3\nupstreams: { docker.io: { username: me, password: ${PASSWORD} } }\n');
  writeFileSync(join(cwd, 'bad.yaml'), 'workrs: 3\nstorage: { driver: tape }\n');
  writeFileSync(join(cwd, 'two-hosts.yaml'), 'listeners: [{ address: "localhost:0" }, { address: "localhost:1", upstream: quay.io }]\n');
  writeFileSync(join(cwd, 'secret.yaml'), 'auth: { secret: "long enough and random, or so it says", anonymous: pull }\n');
  writeFileSync(join(cwd, 'anywhere.yaml'), 'listeners: [{ address: "localhost:0" }]\n');
  writeFileSync(join(cwd, 'memory.yaml'), 'storage: { driver: memory }\n');
});
afterAll(() => rmSync(cwd, { recursive: true }));

interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function umbra(...args: string[]): Promise<Ran> {
  return umbraIn({ PASSWORD: 'hunter2' }, ...args);
}

async function umbraIn(env: Readonly<Record<string, string>>, ...args: string[]): Promise<Ran> {
  return await umbraBefore({}, env, ...args);
}

/** @param terminal what standard error is */
async function umbraBefore(terminal: { readonly isTTY?: boolean; readonly columns?: number }, env: Readonly<Record<string, string>>, ...args: string[]): Promise<Ran> {
  let stdout = '';
  let stderr = '';
  const output = createOutput({ write: (text: string) => (stdout += text) }, { ...terminal, write: (text: string) => (stderr += text) });
  const code = await run(args, { cwd, env, processors: 2, output }, VERSIONS);
  return { code, stdout, stderr };
}

describe('usage errors are 2, with a hint on stderr and nothing on stdout', () => {
  test.each<[string[], string]>([
    [[], 'Usage: umbra [options] [command]'],
    [['config'], 'Usage: umbra config [options] [command]'],
    [['serv'], 'Did you mean serve?'],
    [['config', 'chekc'], 'Did you mean check?'],
    [['serve', 'umbra.yaml'], "too many arguments for 'serve'"],
    [['serve', '-c'], "option '-c, --config <file>' argument missing"],
    [['serve', '--verbose'], "unknown option '--verbose'"],
    [['auth', 'rotate-key', '--after', 'soon'], '--after soon: expected a duration'],
    [['prune'], 'say what to remove: --uploads, --tags or both'],
    [['migrate'], "required option '--from <file>' not specified"],
    [['migrate', '--from', 'x', '--dry-run', '--verify'], 'leave out --dry-run or --verify'],
    [['migrate', '--from', 'x', '--overwrite', '--verify'], '--overwrite goes with neither'],
    [['migrate', '--from', 'x', '--blobs', '0'], '--blobs 0: expected a number from 1 to 64'],
    [['migrate', '--from', 'x', '--host', 'hub'], '--host hub: expected a registry host'],
    [['migrate', '--from', 'x', '--only', 'docker.io/nginx'], 'expected docker.io/library/nginx'],
    [['migrate', '--from', 'x', '--view', 'Main'], '--view: invalid view "Main"'],
    [['migrate', '--from', 'x', '-c', 'two-hosts.yaml'], 'say with --host which one'],
    [['client-config'], 'which clients? --for docker, buildkit'],
    [['client-config', 'apply', '--root', '/nowhere'], 'which clients? --for docker, buildkit'],
    [['client-config', '--for', 'docker,rkt'], '--for rkt: expected docker, buildkit, containers'],
    [['client-config', '--for', 'docker', '--registry', 'localhost:5000'], '--registry localhost:5000: expected http(s)://host[:port]'],
    [['client-config', '--for', 'containers', '--upstreams', 'docker.io,hub'], '--upstreams hub: expected a registry host'],
    [['client-config', '--for', 'containers', '--search-registries', 'docker.io,hub'], '--search-registries hub: expected a registry host'],
    [['client-config', '--for', 'containers', '--view', 'Main'], '--view Main: expected the name of a view'],
    [['client-config', '--for', 'containers', '--proxy', 'http://localhost:1'], '--proxy is for docker'],
    [['client-config', '--for', 'containers', '--ca', 'good.yaml'], '--ca good.yaml: expected a PEM file'],
    [['client-config', '--for', 'containers', '--ca', 'nothing'], '--ca nothing cannot be read: ENOENT'],
    [['client-config', '--for', 'containers', '--username', 'ci'], '--username and --password-file go together'],
    [['client-config', '--for', 'containers', '--home', '/home/ci'], '--home is where the login goes: it wants --username'],
    [['client-config', '--for', 'containers', '--home', 'ci', '--username', 'ci', '--password-file', 'good.yaml'], '--home ci: expected an absolute path'],
    [['client-config', '--for', 'containers', '-c', 'anywhere.yaml'], 'does not say what clients call it: give --registry'],
  ])('%j', async (args, hint) => {
    const { code, stdout, stderr } = await umbra(...args);
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toContain(hint);
  });
});

test.each([
  [{ HOME: '/root', SUDO_USER: 'ci' }, [], "note: the login is for /root, where root's clients look: for those of ci, add --home ~ci"],
  [{ HOME: '/root' }, [], ''],
  [{ HOME: '/root', SUDO_USER: 'ci' }, ['--home', '/'], ''],
  [{}, ['--home', '/nobody/'], 'umbra: --home /nobody: no such folder there'],
])('client-config apply in %j with %j says whose login it is', async (env, home, said) => {
  const { stdout, stderr } = await umbraIn(env, 'client-config', 'apply', '--root', '.', '--dry-run', '--for', 'containers', '--username', 'ci', '--password-file', 'good.yaml', ...home);
  expect((stdout + stderr).split('\n').filter((line) => /home|root's/.test(line)).join('')).toBe(said);
});

test.each([
  [['--help']],
  [['serve', '--help']],
  [['config', '--help']],
  [['config', 'check', '-h']],
  [['config', 'explain', '--help']],
  [['config', 'convert', '--help']],
  [['config', 'schema', '--help']],
  [['auth', 'rotate-key', '--help']],
  [['ca', '--help']],
  [['prune', '--help']],
  [['migrate', '--help']],
  [['client-config', '--help']],
  [['client-config', 'apply', '--help']],
  [['client-config', 'revert', '--help']],
  [['version', '--help']],
  [['help', 'serve']],
])('%j prints help with examples', async (args) => {
  const { code, stdout, stderr } = await umbra(...args);
  expect([code, stderr]).toEqual([0, '']);
  expect(stdout).toMatch(/^Usage: umbra/);
  expect(stdout).toMatch(/\nExamples:\n {2}\$ umbra /);
});

test('ca prints the certificate to trust, made where there is none, and its fingerprint beside it', async () => {
  const { code, stdout, stderr } = await umbra('ca', '-c', 'memory.yaml');
  expect([code, new X509Certificate(stdout).ca]).toEqual([0, true]);
  const { fingerprint256 } = new X509Certificate(stdout);
  expect(stderr).toMatch(/^CN=Umbra proxy CA [0-9a-f]{8}, valid until 20\d\d-\d\d-\d\d\nSHA-256 /);
  expect(stderr).toContain(fingerprint256);
  expect(JSON.parse((await umbra('ca', '-c', 'memory.yaml', '--json')).stdout)).toEqual({
    subject: expect.stringMatching(/^CN=Umbra proxy CA/), sha256: fingerprint256, validUntil: expect.stringMatching(/T.*Z$/), certFile: join(cwd, 'umbra-data.ca.pem'), pem: stdout,
  });
});

describe('migrate', () => {
  test.each<[string, string[], string]>([
    ['no such source', ['--from', 'nothing'], '--from nothing cannot be read: ENOENT'],
    ['what is not YAML, of which nothing is shown', ['--from', 'good.yaml'], 'good.yaml: not YAML: Unexpected flow-map-start'],
    ['a configuration of no registry', ['--from', 'two-hosts.yaml'], 'two-hosts.yaml: expected a configuration of Distribution, which has storage:, or of a zuul-registry, which has registry:'],
    ['a folder that is no store', ['--from', '.'], '--from .: neither a store of Distribution, which holds docker/registry/v2/, nor one of a zuul-registry'],
    ['storage in memory', ['--from', 'good.yaml', '-c', 'memory.yaml'], 'storage is memory, which is gone when this process ends'],
  ])('%s', async (_, args, message) => {
    const { code, stdout, stderr } = await umbra('migrate', ...args);
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toContain(message);
    expect(stderr).not.toContain('PASSWORD');
  });

  test.each(['upstream', 'dev'])('refuses the view %s', async (view) => {
    mkdirSync(join(cwd, 'store/docker/registry/v2/repositories'), { recursive: true });
    expect(await umbra('migrate', '--from', 'store', '--view', view)).toMatchObject({ code: 1, stdout: '', stderr: expect.stringContaining(`view ${view} is`) as string });
  });

  test('says in words and in JSON what there is', async () => {
    mkdirSync(join(cwd, 'store/docker/registry/v2/repositories/org/app/_manifests/tags/v1/current'), { recursive: true });
    const words = await umbra('migrate', '--from', 'store', '--dry-run');
    expect(words).toEqual({
      code: 1,
      stdout: 'found 1 repository, 1 tag, 0 manifests, 0 blobs of 0 B\n1 problem, named above; everything else can be taken\n',
      stderr: "looking at a Distribution registry on filesystem; names without a host are docker.io's\nproblem: org/app:v1: tag-dangling: it names nothing: its link is gone\ndocker.io/org/app: 1 tag, 0 manifests, 1 problem\n",
    });
    const json = await umbra('migrate', '--from', 'store', '--dry-run', '--json', '--host', 'registry.example.org');
    expect([json.code, json.stderr]).toEqual([1, '']);
    expect(json.stdout.trim().split('\n').map((line) => JSON.parse(line) as object)).toMatchObject([
      { event: 'began', kind: 'distribution', host: 'registry.example.org' },
      { event: 'problem', kind: 'tag-dangling', repository: 'org/app', tags: ['v1'] },
      { event: 'repository', name: 'registry.example.org/org/app' },
      { event: 'ended', counts: { repositories: 1, problems: 1 } },
    ]);
  });
});

describe('migrate, of what takes a while,', () => {
  /** As if half a minute went by with each look at the clock. */
  async function slowly(terminal: { readonly isTTY?: boolean; readonly columns?: number }, ...args: string[]): Promise<Ran> {
    let nowMs = Date.now();
    const clock = vi.spyOn(Date, 'now').mockImplementation(() => (nowMs += 30_000));
    onTestFinished(() => clock.mockRestore());
    return await umbraBefore(terminal, {}, 'migrate', '--from', 'full', '-c', 'migrated.yaml', ...args);
  }

  beforeAll(async () => {
    writeFileSync(join(cwd, 'migrated.yaml'), 'storage: { driver: filesystem, root: migrated }\n');
    const images = new FakeContent();
    images.addImage('org/app', { tag: 'v1', layers: [1_000] });
    const store = await openFilesystem({ root: join(cwd, 'full') });
    await writeDistribution(store, images);
    await store.close();
  });

  test('tells how far it is: on one line of a terminal, or line by line, or as JSON', async () => {
    expect((await slowly({ isTTY: true, columns: 80 }, '--dry-run')).stderr).toContain('\r1 repository, 1 tag, 1 manifest\u001B[K');
    expect((await slowly({})).stderr).toMatch(/^1 repository, 1 tag, 1 manifest, 2 blobs copied \(\d+\.\d KiB\)$/m);
    const { stdout } = await slowly({}, '--verify', '--json');
    expect(stdout.trim().split('\n').map((line) => JSON.parse(line) as object)).toContainEqual({ event: 'progress', counts: expect.objectContaining({ manifests: 1, readBlobs: 2 }) as object });
  });
});

describe('auth rotate-key', () => {
  test('says which key signs from when on, and until when others verify', async () => {
    writeFileSync(join(cwd, 'key'), JSON.stringify({ keys: [{ kty: 'oct', kid: 'old', k: 'A'.repeat(43) }] }));
    const words = await umbra('auth', 'rotate-key', '--key-file', 'key', '--after', '1h');
    expect(words).toEqual({ code: 0, stdout: expect.stringMatching(/^key \S+ signs from \S+Z on; 1 older key verifies until \S+Z\n$/) as string, stderr: '' });
    const json = await umbra('auth', 'rotate-key', '--key-file', 'key', '--revoke', '--json');
    expect(JSON.parse(json.stdout)).toEqual({ kid: expect.any(String) as string, signsFrom: expect.any(String) as string, older: 0 });
  });

  test('says what is in the way', async () => {
    expect(await umbra('auth', 'rotate-key', '--key-file', 'absent')).toMatchObject({ code: 1, stderr: expect.stringMatching(/signing key file \S+absent cannot be changed: ENOENT/) as string });
    expect(await umbra('auth', 'rotate-key', '-c', 'secret.yaml')).toMatchObject({ code: 1, stderr: expect.stringContaining('derived from auth.secret') as string });
  });
});

describe('config check', () => {
  test('says ok for a good file, and for none', async () => {
    expect(await umbra('config', 'check', '-c', 'good.yaml')).toEqual({ code: 0, stdout: 'good.yaml: ok\n', stderr: '' });
    expect(await umbra('config', 'check')).toEqual({ code: 0, stdout: 'no file, so the defaults: ok\n', stderr: '' });
    expect(JSON.parse((await umbra('config', 'check', '--json', '-c', 'good.yaml')).stdout)).toEqual({
      ok: true,
      file: 'good.yaml',
      problems: [],
    });
  });

  test('tells all that is wrong', async () => {
    const lines = [
      'bad.yaml:1: workrs: unknown key; did you mean "workers"?',
      'bad.yaml:2: storage.driver: expected one of filesystem, memory, swift, s3, got "tape"',
    ];
    expect(await umbra('config', 'check', '-c', 'bad.yaml')).toEqual({ code: 1, stdout: '', stderr: `${lines.join('\n')}\n` });
  });

  test('tells it to programs, too', async () => {
    const { code, stdout, stderr } = await umbra('config', 'check', '--json', '-c', 'bad.yaml');
    expect([code, stderr]).toEqual([1, '']);
    expect(JSON.parse(stdout)).toEqual({
      ok: false,
      problems: [
        { file: 'bad.yaml', line: 1, key: 'workrs', message: 'unknown key; did you mean "workers"?' },
        { file: 'bad.yaml', line: 2, key: 'storage.driver', message: 'expected one of filesystem, memory, swift, s3, got "tape"' },
      ],
    });
  });
});

describe('config explain', () => {
  test('lines values and origins up', async () => {
    const { code, stdout } = await umbra('config', 'explain', '-c', 'good.yaml');
    expect(code).toBe(0);
    expect(stdout).toMatch(/^workers {2,}3 {2,}good\.yaml:1$/m);
    expect(stdout).toMatch(/^upstreams\.docker\.io\.password {2,}\*\*\* {2,}environment variable PASSWORD \(good\.yaml:2\)$/m);
    expect(stdout).toMatch(/^auth\.anonymous {2,}push {2,}default; no auth is configured$/m);
    expect(stdout).not.toContain('hunter2');
  });

  test('gives rows to programs', async () => {
    const { stdout } = await umbra('config', 'explain', '--json', '-c', 'good.yaml');
    expect(JSON.parse(stdout)).toContainEqual({ key: 'workers', value: 3, origin: { kind: 'file', file: 'good.yaml', line: 1 } });
    expect(stdout).not.toContain('hunter2');
  });

  test('fails on a bad file as check does', async () => {
    expect(await umbra('config', 'explain', '-c', 'bad.yaml')).toEqual(await umbra('config', 'check', '-c', 'bad.yaml'));
  });
});

test('config schema prints a JSON Schema', async () => {
  const { code, stdout } = await umbra('config', 'schema');
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({
    $schema: 'http://json-schema.org/draft-07/schema#',
    properties: { upstreams: { additionalProperties: { properties: { ttl: { default: '60s' } } } } },
  });
});

test('version says which Umbra on which Node.js', async () => {
  expect(await umbra('version')).toEqual({ code: 0, stdout: 'umbra 1.2.3 (node v26.0.0, linux-x64)\n', stderr: '' });
  expect(await umbra('--version')).toEqual({ code: 0, stdout: 'umbra 1.2.3\n', stderr: '' });
  expect(JSON.parse((await umbra('version', '--json')).stdout)).toEqual(VERSIONS);
});

test.each([['serve'], ['prune', '--uploads']])('%s stops at a bad file and says all that is wrong', async (...args) => {
  const { code, stdout, stderr } = await umbra(...args, '-c', 'bad.yaml');
  expect([code, stdout]).toEqual([1, '']);
  expect(stderr.split('\n')).toHaveLength(3);
});

test('prune says what it removed and kept', async () => {
  const file = ['-c', 'good.yaml'];
  expect(await umbra('prune', '--uploads', ...file)).toEqual({
    code: 0,
    stdout: 'removed 0 uploads that nobody touched for 1d, kept 0\n',
    stderr: '',
  });
  expect(JSON.parse((await umbra('prune', '--uploads', '--json', ...file)).stdout)).toEqual({ event: 'uploads', removed: 0, kept: 0, dryRun: false });
});

test('prune of tags asks for an age', async () => {
  expect(await umbra('prune', '--tags', '-c', 'good.yaml')).toEqual({ code: 1, stdout: '', stderr: 'umbra: --tags: tagExpiry is not set, so no tag is ever too old\n' });
  writeFileSync(join(cwd, 'expiry.yaml'), 'tagExpiry: 30d\n');
  expect(await umbra('prune', '--tags', '--uploads', '--dry-run', '-c', 'expiry.yaml')).toEqual({
    code: 0, stdout: 'would delete 0 tags that were pushed longer than 30d ago, kept 0\nwould remove 0 uploads that nobody touched for 1d, kept 0\n', stderr: '',
  });
});

describe('the file of a zuul-registry', () => {
  beforeAll(() => writeFileSync(join(cwd, 'registry.yaml'), 'registry: { secret: "%(ZUUL_SECRET)", users: [{ name: a, pass: x, access: write }], storage: { driver: filesystem, root: zuul, expiration: 60 } }\n'));

  test('is as good as one of ours', async () => {
    expect(await umbra('config', 'check', '-c', 'registry.yaml')).toMatchObject({ code: 1, stderr: 'registry.yaml:1: registry.secret: the environment variable ZUUL_SECRET is not set\n' });
    writeFileSync(join(cwd, 'registry.yaml'), 'registry: { secret: "%(PASSWORD)", users: [{ name: a, pass: x, access: write }], storage: { driver: filesystem, root: zuul, expiration: 60 } }\n');
    expect(await umbra('config', 'check', '-c', 'registry.yaml')).toMatchObject({ code: 0 });
  });

  test('is converted, and told which secrets it shows', async () => {
    const { code, stdout, stderr } = await umbra('config', 'convert', 'registry.yaml');
    expect([code, stderr]).toEqual([0, expect.stringContaining('for everybody to read: auth.secret, auth.users[0].password; ')]);
    expect(stdout).toContain(`storage:\n  driver: filesystem\n  root: ${join(cwd, 'zuul')}\n`);
    expect(await umbra('config', 'convert', 'good.yaml')).toEqual({ code: 1, stdout: '', stderr: 'umbra: good.yaml has no registry:, so there is nothing to convert\n' });
  });

  test('is pruned by bin/zuul-registry as it says', async () => {
    expect(await umbra('zuul-registry', 'prune', '-c', 'registry.yaml', '--dry-run')).toEqual({
      code: 0, stdout: 'would delete 0 tags that were pushed longer than 1m ago, kept 0\nwould remove 0 uploads that nobody touched for 1d, kept 0\n', stderr: '',
    });
    writeFileSync(join(cwd, 'never.yaml'), 'registry: { secret: x, storage: { driver: filesystem, root: zuul } }\n');
    expect(await umbra('zuul-registry', '-c', 'never.yaml', 'prune')).toEqual({ code: 0, stdout: 'removed 0 uploads that nobody touched for 1d, kept 0\n', stderr: '' });
  });

  test.each<[string[], number, string]>([
    [[], 1, '/conf/registry.yaml'],
    [['-c', 'registry.yaml', 'clean'], 2, 'Allowed choices are serve, prune'],
    [['--dry-run'], 2, '--dry-run is for prune'],
    [['-x'], 2, "unknown option '-x'"],
  ])('zuul-registry %j fails', async (args, code, hint) => {
    expect(await umbra('zuul-registry', ...args)).toEqual({ code, stdout: '', stderr: expect.stringContaining(hint) });
  });

  test('zuul-registry has help of its own', async () => {
    expect((await umbra('zuul-registry', '--help')).stdout).toMatch(/^Usage: zuul-registry \[options\] \[command\]\n/);
  });
});

test('prune refuses memory storage, which is the server’s own', async () => {
  const { code, stderr } = await umbra('prune', '--uploads', '-c', 'memory.yaml');
  expect(code).toBe(1);
  expect(stderr).toContain('storage is memory');
});

test('columns are as wide as their widest cell, but for the last', () => {
  expect(
    formatColumns([
      ['a', 'bb', 'c'],
      ['ddd', 'e', 'long'],
    ]),
  ).toBe('a    bb  c\nddd  e   long');
});
