/** Each kind of login at a real Keystone, for a real Swift. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from 'vitest';
import { openKeystone, type Keystone, type MadeUser } from '../../test/services/keystone.ts';
import { attempts } from '../drivers/object-store/attempts.ts';
import { DriverError } from '../drivers/driver.ts';
import { systemTimers } from '../workers/timers.ts';
import type { Hidden, OpenStackAuth, OpenStackLogin, Qualified } from './auth.ts';
import { openStackSession, type OpenStackSession, type SessionOptions } from './session.ts';

const service = inject('openstack');
const url = service.authUrl;
const domain = { name: service.domain };

let keystone: Keystone;
let member: MadeUser;
beforeAll(async () => {
  keystone = await openKeystone(service);
  member = await keystone.user();
  await keystone.grant(member.id, service.projectId, 'member');
});
afterAll(async () => await keystone[Symbol.asyncDispose]());

const sessions: OpenStackSession[] = [];
afterEach(async () => {
  for (const session of sessions.splice(0)) await session.close();
});

function open(auth: OpenStackLogin, options: Partial<SessionOptions> = {}): OpenStackSession {
  const session = openStackSession({
    auth, region: undefined, interface: 'public', ca: undefined, insecure: false, nowMs: Date.now, random: Math.random,
    retries: attempts({ nowMs: Date.now, timers: systemTimers, random: Math.random, store: 'Keystone', report: () => undefined }),
    failed: (kind, message, more) => new DriverError(kind, message, more), ...options,
  });
  sessions.push(session);
  return session;
}

function hidden(text: string): Hidden {
  return { reveal: () => text };
}

function named({ name }: MadeUser): Qualified {
  return { name, domain };
}

function passwordOf(user: MadeUser): OpenStackAuth {
  return { kind: 'password', url, user: named(user), password: hidden(user.password), project: { name: service.project, domain } };
}

/** What Swift says to a look at the account. */
async function look(session: OpenStackSession): Promise<number> {
  const access = await session.access();
  return (await fetch(access.url, { method: 'HEAD', headers: { 'x-auth-token': access.token } })).status;
}

async function refusalOf(auth: OpenStackAuth, options: Partial<SessionOptions> = {}): Promise<string> {
  const error: unknown = await open(auth, options).access().then(() => undefined, (reason: unknown) => reason);
  expect(error).toMatchObject({ failure: 'permanent' });
  return (error as Error).message;
}

describe('Swift takes what Keystone gives for', () => {
  it.each<[string, () => OpenStackAuth | Promise<OpenStackAuth>]>([
    ['a password', () => passwordOf(member)],
    ['a password, by ids, without /v3', () => ({ kind: 'password', url: url.replace(/\/v3$/, ''), user: { id: member.id }, password: hidden(member.password), project: { id: service.projectId } })],
    ['an application credential by id', async () => {
      const { id, secret } = await keystone.applicationCredential(member, service.projectId);
      return { kind: 'application-credential', url, credential: { id }, secret: hidden(secret) };
    }],
    ['an application credential by name', async () => {
      const { name, secret } = await keystone.applicationCredential(member, service.projectId);
      return { kind: 'application-credential', url, credential: { name, user: named(member) }, secret: hidden(secret) };
    }],
    ['a trust', async () => {
      const trustee = await keystone.user();
      const { id } = await keystone.trust(member, trustee.id, service.projectId, [{ name: 'member' }]);
      return { kind: 'trust', url, user: named(trustee), password: hidden(trustee.password), trustId: hidden(id) };
    }],
  ])('%s', async (_name, auth) => {
    const session = open(await auth());
    expect((await session.access()).url).toBe(service.accountUrl);
    expect(await look(session)).toBe(204);
  });

  it('the internal endpoint, and the region that is named', async () => {
    expect(await look(open(passwordOf(member), { interface: 'internal', region: service.region }))).toBe(204);
  });
});

describe('Keystone refuses', () => {
  it('a wrong password, and names user, domain and project', async () => {
    expect(await refusalOf(passwordOf({ ...member, password: 'wrong horse' }))).toBe(
      `Keystone at ${url}/auth/tokens refused user "${member.name}" of domain "Default" in project "demo" of domain "Default" (401, "The request you have made requires authentication."): `
      + 'the user name, its domain or the password is wrong, the user is disabled, or it has no role in that project',
    );
  });

  it('a project in which the user has no role', async () => {
    expect(await refusalOf(passwordOf(await keystone.user()))).toContain('it has no role in that project');
  });

  it('a user that was disabled', async () => {
    const user = await keystone.user();
    await keystone.grant(user.id, service.projectId, 'member');
    expect(await look(open(passwordOf(user)))).toBe(204);
    await keystone.disable(user.id);
    expect(await refusalOf(passwordOf(user))).toContain('the user is disabled');
  });

  it('a wrong secret of an application credential, and one that was deleted', async () => {
    const made = await keystone.applicationCredential(member, service.projectId);
    const auth = (secret: string): OpenStackAuth => ({ kind: 'application-credential', url, credential: { id: made.id }, secret: hidden(secret) });
    expect(await refusalOf(auth('wrong horse'))).toContain(`refused application credential "${made.id}" (401`);
    expect(await look(open(auth(made.secret)))).toBe(204);
    await made.remove();
    expect(await refusalOf(auth(made.secret))).toMatch(new RegExp(`refused application credential "${made.id}" \\(40[14], .*: its id, name or secret is wrong, it expired or was deleted`));
  });

  it('a trust that was deleted, and one for another', async () => {
    const [trustee, other] = [await keystone.user(), await keystone.user()];
    const trust = await keystone.trust(member, trustee.id, service.projectId, [{ name: 'member' }]);
    const auth = (user: MadeUser): OpenStackAuth => ({ kind: 'trust', url, user: named(user), password: hidden(user.password), trustId: hidden(trust.id) });
    expect(await refusalOf(auth(other))).toMatch(/by a trust \(40[13]/);
    expect(await look(open(auth(trustee)))).toBe(204);
    await trust.remove();
    const told = await refusalOf(auth(trustee));
    expect(told).toContain('by a trust');
    expect(told).not.toContain(trust.id);
  });

  it.each([
    [{ region: 'RegionTwo' }, 'the catalogue does not have the public endpoint of object-store in region "RegionTwo"; it has regions: RegionOne; interfaces: '],
  ])('nothing, but the catalogue lacks %o', async (options, expected) => {
    expect(await refusalOf(passwordOf(member), options)).toContain(expected);
  });

  it.each([
    ['below the API', () => `${url}/nothing`],
    ['at Swift', () => service.swiftOrigin],
  ])('nothing: it is not there, but %s', async (_name, wrong) => {
    expect(await refusalOf({ ...passwordOf(member), url: wrong() })).toContain(wrong());
  });
});

describe('a token', () => {
  it('is one for all who ask at once', async () => {
    const session = open(passwordOf(member));
    const all = await Promise.all(Array.from({ length: 8 }, () => session.access()));
    expect(new Set(all.map(({ token }) => token)).size).toBe(1);
  });

  it('is replaced when its time is over, and when it is refused', async () => {
    let nowMs = Date.now();
    const session = open(passwordOf(member), { nowMs: () => nowMs });
    const first = await session.access();
    nowMs += 24 * 3_600_000;
    const second = await session.access();
    expect(second.token).not.toBe(first.token);
    expect(await look(session)).toBe(204);
    nowMs += 60_000;
    session.refused(second);
    expect((await session.access()).token).not.toBe(second.token);
    expect(await look(session)).toBe(204);
  });
});

describe('a credential in a file', () => {
  it('is replaced by another user while the session lives, and the first one is deleted', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'umbra-credential-'));
    try {
      const path = join(folder, 'credential.json');
      const [first, second] = [await keystone.user(), await keystone.user()];
      for (const { id } of [first, second]) await keystone.grant(id, service.projectId, 'member');
      const write = ({ name, password }: MadeUser): void => writeFileSync(path, JSON.stringify({ url, username: name, password, userDomain: service.domain, project: service.project }));
      write(first);
      const session = open({ kind: 'file', path });
      const access = await session.access();
      expect(await look(session)).toBe(204);
      write(second);
      await keystone.disable(first.id);
      // As a driver does when Swift answers 401.
      session.refused(access);
      expect((await session.access()).token).not.toBe(access.token);
      expect(await look(session)).toBe(204);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
