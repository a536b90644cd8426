/**
 * Logging in with real clients: who may pull and push, who is refused, and that no secret that passed by is in the log.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Containerd } from '../services/containerd.ts';
import { Containers } from '../services/containers.ts';
import { Docker } from '../services/docker.ts';
import { OidcProvider } from '../services/oidc-provider.ts';
import { freePort } from '../services/ports.ts';
import { secretsIn } from '../support/secrets.ts';
import { dockerArchive, makeImage, ociArchive, writeLayout } from './images.ts';
import { buildLandscape, tellOnFailure, type Landscape } from './landscape.ts';
import { insecure, mirrors } from './registries-conf.ts';
import { RegistryClient } from './registry-client.ts';
import { Umbra } from './umbra.ts';

const PASSWORDS = {
  ci: 'pw-of-ci-3f9a1c',
  reader: 'pw-of-reader-77b0e2',
  hub: 'pw-of-docker-hub-d41e08',
  wrong: 'pw-wrong-5c6d7e',
};
const AUDIENCE = 'https://registry.example.org';
/** Each client has its own words, and passes on some of Umbra's. */
const REFUSED = /unauthorized|authentication required|authorization failed|denied|(incorrect|invalid) username/i;

describe('where anonymous may pull and users may push', () => {
  let landscape: Landscape;
  let containers: Containers;
  let layout: string;
  let host: string;
  /** A listener that pulls only and never challenges. */
  let mirrorHost: string;
  /** A second server, where anonymous may do nothing. */
  let closed: Umbra;
  /** Gives jobs of a CI their tokens. */
  let provider: OidcProvider;
  /** Those that were used. */
  const idTokens: string[] = [];

  beforeAll(async () => {
    provider = await OidcProvider.start();
    const oidc = [{ issuer: provider.issuer, audience: AUDIENCE, rules: [{ claims: { repository: 'org/*' }, names: ['docker.io/org/*'], may: ['pull', 'push'] }] }];
    const users = [
      { name: 'ci', password: PASSWORDS.ci, access: 'push' },
      { name: 'reader', password: PASSWORDS.reader, access: 'pull' },
    ];
    landscape = await buildLandscape({
      config: async () => ({
        listeners: [{ address: `localhost:${await freePort()}` }, { address: `localhost:${await freePort()}`, mirror: true }],
        auth: { anonymous: 'pull', users, oidc },
      }),
    });
    [host = '', mirrorHost = ''] = landscape.umbra.hosts;
    closed = landscape.use(await Umbra.start({ dir: join(landscape.dir, 'closed'), config: { auth: { anonymous: 'none', users } } }));
    containers = await Containers.create(join(landscape.dir, 'c'), insecure(host) + insecure(closed.host) + mirrors(mirrorHost));
    layout = join(landscape.dir, 'layout');
    await writeLayout(layout, 'x', await makeImage({ marker: 'pushed' }));
    await landscape.publish('docker.io/library/plain', '1', await makeImage({ marker: 'hub plain' }));
  });
  afterAll(async () => {
    await landscape?.[Symbol.asyncDispose]();
    await provider?.[Symbol.asyncDispose]();
  });
  tellOnFailure(() => landscape?.umbra);

  const push = (...flags: string[]) =>
    containers.attempt('skopeo', ['copy', ...flags, `oci:${layout}:x`, `docker://${host}/docker.io/org/own:1`]);

  test('skopeo pulls without a login', async () => {
    await containers.skopeo(['copy', `docker://${host}/library/plain:1`, `dir:${join(landscape.dir, 'anonymous')}`]);
  });

  test('skopeo pushes and deletes as a user who may', async () => {
    expect(await push('--dest-creds', `ci:${PASSWORDS.ci}`)).toMatchObject({ code: 0 });
    await containers.skopeo(['inspect', `docker://${host}/docker.io/org/own:1`]);
    await containers.skopeo(['delete', '--creds', `ci:${PASSWORDS.ci}`, `docker://${host}/docker.io/org/own:1`]);
    const gone = await containers.attempt('skopeo', ['inspect', `docker://${host}/docker.io/org/own:1`]);
    expect(gone).toMatchObject({ code: 1, stderr: expect.stringMatching(/manifest unknown|name unknown|not found/) });
  });

  test.each([
    ['without a login', []],
    ['with a wrong password', ['--dest-creds', `ci:${PASSWORDS.wrong}`]],
    ['as an unknown user', ['--dest-creds', `nobody:${PASSWORDS.wrong}`]],
    ['as a user who may only pull', ['--dest-creds', `reader:${PASSWORDS.reader}`]],
  ])('skopeo is refused a push %s', async (_, flags) => {
    await containers.forgetBlobs();
    expect(await push(...flags)).toMatchObject({ code: 1, stderr: expect.stringMatching(REFUSED) });
    expect(await landscape.client.getManifest('docker.io/org/own', '1')).toMatchObject({ status: 404 });
  });

  test('podman logs in, pushes and logs out; a wrong password is refused', async () => {
    const wrong = await containers.attempt('podman', ['login', '--username', 'ci', '--password-stdin', host], { input: PASSWORDS.wrong });
    expect(wrong).toMatchObject({ code: 125, stderr: expect.stringMatching(REFUSED) });
    await containers.podman(['login', '--username', 'ci', '--password-stdin', host], { input: PASSWORDS.ci });
    const id = (await containers.podman(['pull', '--quiet', `oci:${layout}:x`])).trim();
    await containers.podman(['push', id, `${host}/docker.io/org/podman:1`]);
    await containers.podman(['logout', host]);
    const refused = await containers.attempt('podman', ['push', id, `${host}/docker.io/org/podman:2`]);
    expect(refused).toMatchObject({ code: 125, stderr: expect.stringMatching(REFUSED) });
    expect(await landscape.client.getManifest('docker.io/org/podman', '1')).toMatchObject({ status: 200 });
    expect(await landscape.client.getManifest('docker.io/org/podman', '2')).toMatchObject({ status: 404 });
  });

  test('docker logs in, pushes and logs out; a wrong password is refused', async () => {
    await using docker = await Docker.start({ dir: join(landscape.dir, 'd') });
    const login = (password: string) => docker.attempt(['login', '--username', 'ci', '--password-stdin', host], { input: password });
    expect(await login(PASSWORDS.wrong)).toMatchObject({ code: 1, stderr: expect.stringMatching(REFUSED) });
    const reference = `${host}/docker.io/org/docker:1`;
    await docker.run(['load'], { input: dockerArchive(await makeImage({ marker: 'by docker' }), reference) });
    expect(await docker.attempt(['push', reference])).toMatchObject({ code: 1, stderr: expect.stringMatching(REFUSED) });
    expect(await login(PASSWORDS.ci)).toMatchObject({ code: 0 });
    await docker.run(['push', reference]);
    await docker.run(['logout', host]);
    await docker.run(['rmi', '--force', reference]);
    await docker.run(['pull', '--quiet', reference]);
  });

  test('a job logs in with its ID token, by docker and by podman, and pushes what its claims allow', async () => {
    const idToken = async (repository: string): Promise<string> => {
      provider.claims = { repository };
      idTokens.push(await provider.token({ audience: AUDIENCE }));
      return idTokens.at(-1) ?? '';
    };
    await using docker = await Docker.start({ dir: join(landscape.dir, 'j') });
    const login = async (repository: string) => docker.attempt(['login', '--username', 'oidc', '--password-stdin', host], { input: await idToken(repository) });
    expect(await login('mallory/app')).toMatchObject({ code: 1, stderr: expect.stringMatching(REFUSED) });
    expect(await login('org/app')).toMatchObject({ code: 0 });
    const [reference, foreign] = [`${host}/docker.io/org/job:1`, `${host}/docker.io/other/job:1`];
    for (const name of [reference, foreign]) await docker.run(['load'], { input: dockerArchive(await makeImage({ marker: 'by a job' }), name) });
    await docker.run(['push', reference]);
    expect(await docker.attempt(['push', foreign])).toMatchObject({ code: 1, stderr: expect.stringMatching(REFUSED) });

    await containers.podman(['login', '--username', 'oidc', '--password-stdin', host], { input: await idToken('org/app') });
    const id = (await containers.podman(['pull', '--quiet', `oci:${layout}:x`])).trim();
    await containers.podman(['push', id, `${host}/docker.io/org/job:2`]);
    await containers.podman(['logout', host]);
  });

  test('containerd pushes with a user’s password, and is refused with a wrong one', async () => {
    await using containerd = await Containerd.start(join(landscape.dir, 'n'));
    const reference = `${host}/docker.io/org/containerd:1`;
    const archive = join(landscape.dir, 'image.tar');
    await writeFile(archive, ociArchive(await makeImage({ marker: 'by containerd' }), reference));
    await containerd.ctr(['images', 'import', archive]);
    const pushAs = (user: string) => containerd.attempt(['images', 'push', '--plain-http', '--user', user, reference]);
    expect(await pushAs(`ci:${PASSWORDS.wrong}`)).toMatchObject({ code: 1, stderr: expect.stringMatching(REFUSED) });
    expect(await pushAs(`reader:${PASSWORDS.reader}`)).toMatchObject({ code: 1, stderr: expect.stringMatching(REFUSED) });
    expect(await pushAs(`ci:${PASSWORDS.ci}`)).toMatchObject({ code: 0 });
    await containerd.ctr(['images', 'rm', '--sync', reference]);
    await containerd.ctr(['images', 'pull', '--plain-http', reference]);
  });

  describe.each([
    ['a listener that never challenges', () => mirrorHost],
    ['a listener that challenges', () => host],
  ])('dockerd with Docker Hub’s credentials, mirrored by %s', (name, mirror) => {
    test('pulls all the same', async () => {
      await using docker = await Docker.start({
        dir: join(landscape.dir, `h${name.length}`),
        mirrors: [`http://${mirror()}`],
        logins: { 'https://index.docker.io/v1/': { username: 'somebody', password: PASSWORDS.hub } },
      });
      await docker.run(['pull', '--quiet', 'plain:1']);
      expect(await docker.run(['inspect', '--format', '{{.Config.Labels.marker}}', 'plain:1'])).toBe('hub plain\n');
    });
  });

  test('a mirror listener takes no push, not even from a user who may', async () => {
    const refused = await containers.attempt('skopeo', [
      'copy',
      '--dest-tls-verify=false',
      '--dest-creds',
      `ci:${PASSWORDS.ci}`,
      `oci:${layout}:x`,
      `docker://${mirrorHost}/docker.io/org/mirrored:1`,
    ]);
    expect(refused.code).toBe(1);
    expect(await landscape.client.getManifest('docker.io/org/mirrored', '1')).toMatchObject({ status: 404 });
  });

  test('where anonymous may do nothing, only users pull', async () => {
    const reference = `docker://${closed.host}/docker.io/org/own:1`;
    await containers.skopeo(['copy', '--dest-creds', `ci:${PASSWORDS.ci}`, `oci:${layout}:x`, reference]);
    expect(await containers.attempt('skopeo', ['inspect', reference])).toMatchObject({ code: 1, stderr: expect.stringMatching(REFUSED) });
    const wrong = await containers.attempt('skopeo', ['inspect', '--creds', `reader:${PASSWORDS.wrong}`, reference]);
    expect(wrong).toMatchObject({ code: 1, stderr: expect.stringMatching(REFUSED) });
    await containers.skopeo(['inspect', '--creds', `reader:${PASSWORDS.reader}`, reference]);
    await using anonymous = new RegistryClient(closed.url);
    expect(await anonymous.getManifest('docker.io/org/own', '1')).toMatchObject({ status: 401 });
  });

  test('no password, credential or token is in the log', async () => {
    const log = landscape.umbra.output + closed.output;
    // The log tells of requests by everybody above, so that the absence of secrets means something.
    expect(log.includes('/v2/docker.io/org/podman/')).toBe(true);
    const logins = { ...PASSWORDS, somebody: PASSWORDS.hub, nobody: PASSWORDS.wrong };
    expect(secretsIn(log, logins)).toEqual([]);
    expect(log).toContain(`oidc:${new URL(provider.issuer).host}:ci`);
    expect(idTokens.flatMap((token) => token.split('.')).filter((part) => log.includes(part))).toEqual([]);
  });
});
