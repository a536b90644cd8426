/** Swift drivers over containers of their own in a real Swift, and what tests look at behind a driver's back. */
import { randomBytes } from 'node:crypto';
import { openStackSession, type OpenStackSession } from '../../openstack/session.ts';
import type { OpenStackAuth } from '../../openstack/auth.ts';
import { systemTimers } from '../../workers/timers.ts';
import { attempts } from '../object-store/attempts.ts';
import { DriverError } from '../driver.ts';
import { openSwift, type SwiftDriver, type SwiftOptions } from './swift.ts';

/** As `test/services/openstack.ts` gives it. */
export interface SwiftService {
  readonly authUrl: string;
  readonly username: string;
  readonly password: string;
  readonly project: string;
  readonly domain: string;
  readonly swiftOrigin: string;
  readonly accountUrl: string;
}

export function passwordAuth(service: SwiftService): OpenStackAuth {
  const domain = { name: service.domain };
  return {
    kind: 'password', url: service.authUrl, user: { name: service.username, domain },
    password: { reveal: () => service.password }, project: { name: service.project, domain },
  };
}

interface TestOptions {
  readonly auth?: OpenStackAuth;
  /** Another URL of the account, e.g. a proxy's. */
  readonly url?: (url: string) => string;
  readonly totalMs?: number;
}

/**
 * One login for all drivers of a test file: each token is one that Swift asks the tests' Keystone about, which is a
 * single process, and hundreds of them at once are more than it ever gets through.
 */
const shared = new Map<string, OpenStackSession>();

function sharedSession(service: SwiftService): OpenStackSession {
  const key = `${service.username}@${service.authUrl}`;
  const session = shared.get(key) ?? ownSession(passwordAuth(service), undefined);
  shared.set(key, session);
  return { access: (call) => session.access(call), refused: (access) => session.refused(access), close: async () => undefined };
}

function ownSession(auth: OpenStackAuth, url: TestOptions['url']): OpenStackSession {
  const base = { nowMs: Date.now, timers: systemTimers, random: Math.random, report: () => undefined };
  const opened = openStackSession({
    auth, region: undefined, interface: 'public', ca: undefined, insecure: false, nowMs: Date.now, random: Math.random,
    retries: attempts({ ...base, store: 'Keystone' }),
    failed: (kind, message, more) => new DriverError(kind, message, more),
  });
  if (url === undefined) return opened;
  return {
    access: async (call) => {
      const access = await opened.access(call);
      return { ...access, url: url(access.url) };
    },
    refused: (access) => opened.refused(access),
    close: async () => await opened.close(),
  };
}

export async function openTestSwift(service: SwiftService, container: string, options: Partial<SwiftOptions> & TestOptions = {}): Promise<SwiftDriver> {
  const { auth, url, totalMs, ...rest } = options;
  const base = { nowMs: Date.now, timers: systemTimers, random: Math.random, report: () => undefined };
  const session = auth === undefined && url === undefined ? sharedSession(service) : ownSession(auth ?? passwordAuth(service), url);
  return await openSwift({
    session,
    attempts: attempts({ ...base, store: 'Swift', ...(totalMs === undefined ? {} : { totalMs }) }),
    container, prefix: '', segmentBytes: 64 * 1024 * 1024, memoryBytes: 64 * 1024 * 1024, redirect: false, tempUrlKey: undefined,
    who: `user ${service.username} in project ${service.project}`, ca: undefined, insecure: false,
    newId: () => randomBytes(10).toString('hex'), nowMs: Date.now, timers: systemTimers, ...rest,
  });
}

/** The account as its owner sees it, without a driver. */
export interface RawSwift {
  /** Names below the prefix, internal ones too. */
  names(container: string, prefix?: string): Promise<string[]>;
  fetch(path: string, init?: RequestInit): Promise<Response>;
  /** Removes the container and everything in it. */
  remove(container: string): Promise<void>;
  clear(container: string, prefix: string): Promise<void>;
  close(): Promise<void>;
}

export function rawSwift(service: SwiftService): RawSwift {
  const session = openStackSession({
    auth: passwordAuth(service), region: undefined, interface: 'public', ca: undefined, insecure: false, nowMs: Date.now, random: Math.random,
    retries: { run: async (_, attempt) => await attempt(AbortSignal.timeout(30_000)) }, failed: (_, message) => new Error(message),
  });
  const send = async (path: string, init: RequestInit = {}): Promise<Response> => {
    const { url, token } = await session.access();
    return await fetch(`${url}/${path}`, { ...init, headers: { 'x-auth-token': token, ...(init.headers as Record<string, string> | undefined) } });
  };
  const names = async (container: string, prefix = ''): Promise<string[]> => {
    const found: string[] = [];
    for (;;) {
      const answer = await send(`${container}?prefix=${encodeURIComponent(prefix)}&marker=${encodeURIComponent(found.at(-1) ?? '')}`);
      const page = (await answer.text()).split('\n').filter((name) => name !== '');
      if (page.length === 0 || !answer.ok) return found;
      found.push(...page);
    }
  };
  const clear = async (container: string, prefix: string): Promise<void> => {
    const found = await names(container, prefix);
    for (let at = 0; at < found.length; at += 1_000) {
      const body = found.slice(at, at + 1_000).map((name) => `${container}/${name.split('/').map(encodeURIComponent).join('/')}`).join('\n');
      await (await send('?bulk-delete', { method: 'POST', body, headers: { 'content-type': 'text/plain', accept: 'application/json' } })).text();
    }
  };
  return {
    names,
    fetch: send,
    clear,
    async remove(container) {
      await clear(container, '');
      await send(container, { method: 'DELETE' });
    },
    async close() {
      await session.close();
    },
  };
}
