/** Users and application credentials of a real Keystone log in over HTTP. */
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { openKeystone, type Keystone, type MadeUser } from '../../../test/services/keystone.ts';
import { startUmbra, type TestUmbra } from '../../../test/support/umbra.ts';

const service = inject('openstack');

let keystone: Keystone;
let umbra: TestUmbra;
let member: MadeUser;
let stranger: MadeUser;
let log = '';
beforeAll(async () => {
  keystone = await openKeystone(service);
  [member, stranger] = [await keystone.user(), await keystone.user()];
  await keystone.grant(member.id, service.projectId, 'member');
  umbra = await startUmbra(
    {
      auth: {
        anonymous: 'pull',
        users: [{ name: 'local', password: 'of the file', access: 'pull' }],
        keystone: { url: service.authUrl, cacheFor: 0, rules: [{ project: service.project, role: 'member', names: ['docker.io/org/*'], may: ['pull', 'push'] }] },
      },
    },
    { log: (line) => void (log += line) },
  );
});
afterAll(async () => {
  await umbra?.close();
  await keystone?.[Symbol.asyncDispose]();
});

const basic = (user: string, password: string): Readonly<Record<string, string>> => ({ authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}` });

/** A push to each of two names, by token: the statuses, or why there is no token. */
async function pushes(user: string, password: string): Promise<unknown> {
  const answer = await fetch(`${umbra.origin}/auth/token?offline_token=true&scope=repository:org/app:pull,push&scope=repository:other/app:pull,push`, { headers: basic(user, password) });
  const { token, refresh_token: refresh, errors } = (await answer.json()) as { readonly token?: string; readonly refresh_token?: string; readonly errors?: readonly { readonly message: string }[] }; // JSON
  if (token === undefined) return `${answer.status} ${errors?.[0]?.message}`;
  expect(refresh).toBeUndefined(); // a login ends with the password
  return await Promise.all(['org', 'other'].map(async (org) => (await fetch(`${umbra.origin}/v2/${org}/app/blobs/uploads/`, { method: 'POST', headers: { authorization: `Bearer ${token}` } })).status));
}

describe('in a project where a rule fits', () => {
  it('a user pushes what the rule says', async () => {
    for (const spelling of [`${member.name}/${service.project}`, `${member.name}@${service.domain}/${service.project}`]) expect(await pushes(spelling, member.password)).toEqual([202, 401]);
  });

  it('an application credential does, until it is deleted', async () => {
    const made = await keystone.applicationCredential(member, service.projectId);
    expect(await pushes(made.id, made.secret)).toEqual([202, 401]);
    expect(await pushes(made.id, 'wrong')).toBe('401 wrong user name, project or password');
    await made.remove();
    expect(await pushes(made.id, made.secret)).toBe('401 wrong user name, project or password');
  });
});

it.each<[string, () => readonly [string, string], string]>([
  ['a wrong password', () => [`${member.name}/${service.project}`, 'wrong'], '401 wrong user name, project or password'],
  ['a project without a role', () => [`${stranger.name}/${service.project}`, stranger.password], '401 wrong user name, project or password'],
  ['a project that is none', () => [`${member.name}/none`, member.password], '401 wrong user name, project or password'],
  ['a domain that is none', () => [`${member.name}@none/${service.project}`, member.password], '401 wrong user name, project or password'],
  ['no project', () => [member.name, member.password], '401 no rule of auth.keystone fits keystone:'],
  ['the name of a local user', () => ['local', 'not of the file'], '401 wrong user name or password'],
])('%s is refused', async (_, login, expected) => {
  expect(await pushes(...login())).toContain(expected);
});

it('no password is in the log', () => {
  expect(log).toContain(`keystone:${member.name}@Default/${service.project}`);
  expect([member.password, stranger.password].filter((password) => log.includes(password))).toEqual([]);
});
