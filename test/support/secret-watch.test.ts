/** That the watch over secrets finds them: in every form, from every place that has one, wherever Umbra says it. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import vitestConfig from '../../vitest.config.ts';
import { RegistryClient } from '../e2e/registry-client.ts';
import { attempt } from '../services/command.ts';
import { Daemon } from '../services/daemon.ts';
import { beginWatch, endWatch, knowKeys, knowSecrets, secretsTold, watchSaid } from './secret-watch.ts';
import { formsOf, secretsOf } from './secrets.ts';
import { startUmbra } from './umbra.ts';

const PLANTED = 'pw of ö:/+? 密 "planted"';

let folder: string;
beforeAll(() => (folder = mkdtempSync(join(tmpdir(), 'umbra-watch-'))));
afterAll(() => rmSync(folder, { recursive: true }));

describe('a form of a secret', () => {
  const lower = (text: string): string => text.replace(/%[0-9A-F]{2}/g, (hex) => hex.toLowerCase());
  test.each<[string, string]>([
    ['as it is', `password: ${PLANTED}, she said`],
    ['in JSON', JSON.stringify({ message: `no ${PLANTED}` })],
    ['in a URL', `GET /auth/token?password=${encodeURIComponent(PLANTED)}&x`],
    ['in a URL of another spelling', `GET /auth/token?password=${lower(encodeURIComponent(PLANTED))}&x`],
    ['in a form', new URLSearchParams({ username: 'ci', password: PLANTED, scope: 'x' }).toString()],
    ['in a header', `authorization: Basic ${Buffer.from(`ci:${PLANTED}`).toString('base64')}`],
    ['in the head of a token', `${Buffer.from(`{"a":"${PLANTED.replaceAll('"', "'")}"}`).toString('base64url')}`.replace(/^/, 'x ')],
  ])('%s', (_, text) => {
    const secret = text.startsWith('x ') ? PLANTED.replaceAll('"', "'") : PLANTED;
    expect(formsOf(secret).filter((form) => text.includes(form))).not.toEqual([]);
  });

  test('in Base64 behind and before anything', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 9 }), fc.string({ minLength: 6, unit: 'grapheme' }), fc.uint8Array({ maxLength: 9 }), fc.constantFrom('base64', 'base64url'), (before, secret, after, encoding) => {
      const text = Buffer.concat([before, Buffer.from(secret), after]).toString(encoding);
      return formsOf(secret).some((form) => text.includes(form));
    }));
  });

  test('is in no text that does not have it', () => {
    const text = `${'a'.repeat(1000)} sha256:${'0123456789abcdef'.repeat(4)} /v2/org/app/manifests/1 reader writer`;
    expect(formsOf('pw-of-reader-77b0e2').filter((form) => text.includes(form))).toEqual([]);
  });
});

describe('a secret is known', () => {
  test.each<[string, unknown, readonly string[]]>([
    ['of a user', { auth: { users: [{ name: 'somebody', password: 'pw of somebody', access: 'push' }] } }, ['pw of somebody']],
    ['of a user, hashed', { auth: { users: [{ passwordHash: '$2y$05$abcdefgh' }] } }, ['$2y$05$abcdefgh']],
    ['of Keystone', { storage: { auth: { username: 'umbra', password: 'pw of umbra', trustId: 'trust-1234' } } }, ['pw of umbra', 'trust-1234']],
    ['of an application credential', { auth: { applicationCredentialId: 'abcdefgh', applicationCredentialSecret: 'ac secret' } }, ['ac secret']],
    ['of an S3', { storage: { accessKeyId: 'AKIAEXAMPLE', secretAccessKey: 'SECRETEXAMPLE' } }, ['SECRETEXAMPLE']],
    ['of TempURL', { storage: { tempUrlKey: 'of TempURL' } }, ['of TempURL']],
    ['of a database', { coordination: { url: 'postgres://umbra:pw%20of%20db@localhost/db' } }, ['pw%20of%20db', 'pw of db']],
    ['of several that encrypt', { clusters: { encryptionKey: ['key number 1', 'key number 2'] } }, ['key number 1', 'key number 2']],
    ['of a zuul-registry', { registry: { secret: 'of its tokens', users: [{ name: 'zuul', pass: 'of zuul' }], storage: { 'access-key': 'AKIAEXAMPLE', 'secret-key': 'SECRETEXAMPLE' } } }, ['of its tokens', 'of zuul', 'SECRETEXAMPLE']],
    ['of a docker-registry', { storage: { s3: { accesskey: 'AKIAEXAMPLE', secretkey: 'SECRETEXAMPLE' }, swift: { password: 'of swift' } } }, ['SECRETEXAMPLE', 'of swift']],
    ['of clouds.yaml', { clouds: { images: { auth: { password: 'of a cloud', user_domain_name: 'Default' } } } }, ['of a cloud']],
    ['of the environment', { OS_PASSWORD: 'of OpenStack', ZUUL_REGISTRY_password: 'of Zuul', OS_TOKEN: 'a token of it', PATH: '/usr/bin', HOME: '/root' }, ['of OpenStack', 'of Zuul', 'a token of it']],
    ['unless it is a word that stands anywhere', { users: [{ pass: 'x' }, { pass: 'pw' }] }, []],
    ['but no path, name or address', { listeners: [{ address: 'localhost:5000' }], upstreams: { 'docker.io': { url: 'http://localhost:5001', username: 'somebody' } }, storage: { root: '/var/lib/umbra' } }, []],
  ])('%s', (_, config, expected) => {
    expect(secretsOf(config)).toEqual(expected);
  });

  test('that a placeholder stands for, and not the placeholder', () => {
    const env = { ZUUL_PASSWORD: 'what Zuul gave', HUB: 'what the hub gave' };
    expect(secretsOf({ users: [{ pass: '%(ZUUL_password)' }, { password: '${HUB}' }, { password: 'pre-${HUB}-post' }, { password: '${NONE:-a default}' }] }, { env }))
      .toEqual(['what Zuul gave', 'what the hub gave', 'pre-what the hub gave-post', 'a default']);
  });

  test('that stands in a file which the configuration names', () => {
    const line = 'MC4CAQAwBQYDK2VwBCIEIExampleExampleExampleExampleExampleExample';
    const files = {
      password: 'pw of a file\n',
      keys: JSON.stringify({ keys: [{ kid: 'a', kty: 'oct', k: 'signing-key-number-one' }, { kid: 'b', k: 'signing-key-number-two' }] }),
      'tls.key': `-----BEGIN PRIVATE KEY-----\n${line}\n-----END PRIVATE KEY-----\n`,
    };
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
    const config = { auth: { keyFile: 'keys', users: [{ passwordFile: join(folder, 'password') }, { passwordFile: 'absent' }] }, listeners: [{ tls: { cert: 'tls.pem', key: 'tls.key' } }] };
    expect(secretsOf(config, { folder })).toEqual(['signing-key-number-one', 'signing-key-number-two', 'pw of a file', line]);
  });
});

describe('a planted secret is found', () => {
  let program: string;
  beforeAll(() => {
    // Tells what it is given on its standard input or as its arguments, and stays where it serves.
    program = join(folder, 'bin/umbra');
    mkdirSync(join(folder, 'bin'));
    writeFileSync(program, '#!/bin/sh\ncase "$1" in\nserve) cat "$3"; echo "umbra: ready"; exec sleep 600;;\n*) cat "$3" >&2; echo "$ZUUL_password"; exit 1;;\nesac\n', { mode: 0o755 });
    writeFileSync(join(folder, 'umbra.yaml'), stringify({ auth: { users: [{ name: 'ci', password: PLANTED }] } }));
  });
  beforeEach(() => beginWatch());
  afterEach(() => beginWatch());

  const config = (): string => join(folder, 'umbra.yaml');

  test('in what a program printed to its end', async () => {
    await attempt(program, ['migrate', '-c', config()]);
    expect(() => endWatch()).toThrow(/secrets were told:\n.*in what \S*bin\/umbra migrate -c \S* said: /);
  });

  test('from the environment of a program', async () => {
    await attempt('env', [program, 'prune', '-c', '/dev/null'], { env: { ZUUL_password: PLANTED } });
    expect(secretsTold()).toEqual([expect.stringContaining(PLANTED)]);
  });

  test('in what a server printed, when it has ended', async () => {
    const daemon = await Daemon.start({ command: ['env', program, 'serve', '-c', config()], ready: (output) => output.includes('ready') });
    await daemon.kill();
    expect(secretsTold()).toHaveLength(1);
  });

  test('in an answer that tells what is wrong', async () => {
    const server = createServer((request, response) => response.writeHead(400, { 'x-told': Buffer.from(request.headers.authorization ?? '').toString('base64') }).end('no')).listen(0, '127.0.0.1');
    await once(server, 'listening');
    await using client = new RegistryClient(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, { username: 'ci', password: PLANTED }); // of TCP
    await client.call('/v2/', { headers: { authorization: `x${PLANTED.replace(/[^ -~]/g, '')}` } });
    knowSecrets({ password: PLANTED.replace(/[^ -~]/g, '') });
    server.close();
    expect(secretsTold()).toEqual([expect.stringMatching(/in what GET \/v2\/, 400 said/)]);
  });

  test('in the log of a server in this process', async () => {
    const users = [{ name: 'ci', password: PLANTED, access: 'push' }];
    const umbra = await startUmbra({ auth: { users } });
    await using client = new RegistryClient(umbra.origin);
    await client.call(`/v2/org/app/tags/list?${new URLSearchParams({ ns: PLANTED }).toString()}`);
    await umbra.close();
    const told = secretsTold();
    expect(told.filter((line) => line.includes('a server in this process'))).toHaveLength(1);
    expect(told.filter((line) => line.includes('its metrics'))).toEqual([]);
  });

  test('and tokens, which nobody has to know', () => {
    watchSaid('a log', `authorization=Bearer ${Buffer.from('{"alg":"HS256"}').toString('base64url')}.x.y`);
    expect(secretsTold()).toHaveLength(1);
  });

  test('nothing where nothing was told, nor what was told before', () => {
    knowSecrets({ password: PLANTED });
    watchSaid('a log', 'GET /v2/ 200');
    expect(secretsTold()).toEqual([]);
    watchSaid('a log', PLANTED);
    expect(secretsTold()).toEqual([]);
  });

  test('where a key was made meanwhile', () => {
    writeFileSync(join(folder, 'made'), JSON.stringify({ keys: [{ k: 'made-meanwhile' }] }));
    watchSaid('a log', 'its key is made-meanwhile');
    knowKeys(join(folder, 'made'));
    expect(secretsTold()).toHaveLength(1);
  });
});

test('every project that runs Umbra’s programs or a real store is watched', () => {
  const projects = (vitestConfig.test?.projects ?? []).map((project) => (project as { test: { name: string; setupFiles?: readonly string[] } }).test); // as that file has them
  expect(Object.fromEntries(projects.map(({ name, setupFiles }) => [name, setupFiles ?? []]))).toEqual({
    unit: [], stores: ['test/support/secrets.setup.ts'], 'stores-e2e': ['test/support/secrets.setup.ts'], e2e: ['test/support/secrets.setup.ts'],
  });
});
