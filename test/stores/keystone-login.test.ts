/** People of a real Keystone at real clients: `docker login` and podman's, as a user and as an application credential, and the push that follows. */
import { randomBytes } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { dockerArchive, makeImage, writeLayout } from '../e2e/images.ts';
import { RegistryClient } from '../e2e/registry-client.ts';
import { insecure } from '../e2e/registries-conf.ts';
import { Containers } from '../services/containers.ts';
import { Docker } from '../services/docker.ts';
import { openKeystone } from '../services/keystone.ts';
import { SOAK } from '../support/soak.ts';
import { startUmbra } from '../support/umbra.ts';

const service = inject('openstack');
const stack = new AsyncDisposableStack();
/** User name and password, as they are typed. */
let logins: Readonly<Record<'user' | 'application credential', readonly [string, string]>>;
let host: string;
let dir: string;
let client: RegistryClient;

beforeAll(async () => {
  dir = join(tmpdir(), `u.${randomBytes(4).toString('hex')}`);
  stack.defer(() => rm(dir, { recursive: true, force: true }));
  const keystone = stack.use(await openKeystone(service));
  const member = await keystone.user();
  await keystone.grant(member.id, service.projectId, 'member');
  const credential = await keystone.applicationCredential(member, service.projectId);
  logins = { user: [`${member.name}@${service.domain}/${service.project}`, member.password], 'application credential': [credential.id, credential.secret] };
  const umbra = await startUmbra({ auth: { anonymous: 'pull', keystone: { url: service.authUrl, rules: [{ project: service.project, role: 'member', names: ['docker.io/org/*'], may: ['pull', 'push'] }] } } });
  stack.defer(() => umbra.close());
  host = new URL(umbra.origin).host;
  client = stack.use(new RegistryClient(umbra.origin));
});
afterAll(() => stack.disposeAsync());

describe.each(['user', 'application credential'] as const)('as %s', (who) => {
  test.runIf(SOAK || who === 'user')('docker logs in and pushes what the rule lets it, and nothing else', async () => {
    await using docker = await Docker.start({ dir: join(dir, `d${who[0]}`) });
    const [user, password] = logins[who];
    const image = await makeImage({ marker: `docker ${who}` });
    const [own, other] = [`${host}/org/docker-${who[0]}:1`, `${host}/other/app:1`];
    for (const reference of [own, other]) await docker.run(['load'], { input: dockerArchive(image, reference) });
    expect(await docker.attempt(['push', own])).toMatchObject({ code: 1 });
    expect(await docker.attempt(['login', '--username', user, '--password-stdin', host], { input: 'wrong' })).toMatchObject({ code: 1, stderr: expect.stringMatching(/wrong user name/) as string });
    await docker.run(['login', '--username', user, '--password-stdin', host], { input: password });
    await docker.run(['push', own]);
    expect(await docker.attempt(['push', other])).toMatchObject({ code: 1 });
    expect(await client.getManifest(`org/docker-${who[0]}`, '1')).toMatchObject({ status: 200 });
    expect(await client.getManifest('other/app', '1')).toMatchObject({ status: 404 });
  });

  test('podman logs in, and skopeo pushes with that', async () => {
    const containers = await Containers.create(join(dir, `c${who[0]}`), insecure(host));
    const [user, password] = logins[who];
    const layout = join(dir, `layout-${who[0]}`);
    await writeLayout(layout, 'x', await makeImage({ marker: `podman ${who}` }));
    const authFile = join(dir, `auth-${who[0]}.json`);
    await containers.podman(['login', '--authfile', authFile, '--username', user, '--password-stdin', host], { input: password });
    await containers.skopeo(['copy', '--authfile', authFile, `oci:${layout}:x`, `docker://${host}/org/podman-${who[0]}:1`]);
    expect(await client.getManifest(`org/podman-${who[0]}`, '1')).toMatchObject({ status: 200 });
  });
});
