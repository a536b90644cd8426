/** Logging in to Keystone v3: what is asked, what the answer says, what a refusal means and how to mend it. */
import { describeAuth, secretOf, type Hidden, type OpenStackAuth, type Qualified, type Reference } from './auth.ts';
import type { Service } from './catalogue.ts';
import type { MakeFailure } from './failure.ts';
import type { Wire, WireAnswer } from './wire.ts';

export interface Named {
  readonly id: string;
  readonly name: string;
}

export interface TokenHolder {
  readonly user: Named | undefined;
  /** Of the scope: one of them, or neither. */
  readonly project: Named | undefined;
  readonly domain: Named | undefined;
  /** Names. */
  readonly roles: readonly string[];
  /** How they logged in. */
  readonly methods: readonly string[];
  readonly catalogue: readonly Service[];
}

export interface Grant extends TokenHolder {
  readonly token: string;
  /** How long the token holds from when it was asked for, by the clock of who gave it; undefined: not told. */
  readonly lifetimeMs: number | undefined;
}

export type KeystoneAuth = Exclude<OpenStackAuth, { readonly kind: 'tempauth' }>;

/** Rejects with a failure in words, or with the signal's reason. */
export async function keystoneToken(auth: KeystoneAuth, wire: Wire, failed: MakeFailure, signal: AbortSignal): Promise<Grant> {
  const login = { url: auth.url, request: requestOf(auth), who: describeAuth(auth), secret: secretOf(auth), mending: MENDING[auth.kind] };
  return await granted(login, wire, failed, signal);
}

/** An administrator of a domain. */
export interface DomainAuth {
  readonly url: string;
  /** In the domain that is administered. */
  readonly user: string;
  readonly domain: Reference;
  readonly password: Hidden;
}

/** A token for a domain, with whose role there users are made. Rejects as `keystoneToken`. */
export async function domainToken({ url, user, domain, password }: DomainAuth, wire: Wire, failed: MakeFailure, signal: AbortSignal): Promise<Grant> {
  const where = 'id' in domain ? `with id ${domain.id}` : JSON.stringify(domain.name);
  const login = {
    url, secret: password, who: `user ${JSON.stringify(user)} on its domain ${where}`,
    request: { identity: passwordOf({ user: { name: user, domain }, password }), scope: { domain: reference(domain) } },
    mending: 'the user name, the domain or the password is wrong, the user is disabled, or it has no role on that domain: give it the role admin there',
  };
  return await granted(login, wire, failed, signal);
}

/** As a user without any scope: it sees what belongs to itself. Rejects as `keystoneToken`. */
export async function unscopedToken(auth: { readonly url: string; readonly userId: string; readonly password: Hidden }, wire: Wire, failed: MakeFailure, signal: AbortSignal): Promise<Grant> {
  const user = { id: auth.userId };
  const login = { url: auth.url, secret: auth.password, who: `user with id ${auth.userId}`, request: { identity: passwordOf({ user, password: auth.password }), scope: 'unscoped' }, mending: 'the password is wrong, or the user is disabled' };
  return await granted(login, wire, failed, signal);
}

interface Login {
  /** Of Keystone. */
  readonly url: string;
  readonly request: object;
  /** In messages. */
  readonly who: string;
  readonly secret: Hidden;
  readonly mending: string;
}

async function granted(login: Login, wire: Wire, failed: MakeFailure, signal: AbortSignal): Promise<Grant> {
  const url = `${identityUrl(login.url)}/auth/tokens`;
  const headers = { 'content-type': 'application/json', accept: 'application/json' };
  const answer = await wire.send({ method: 'POST', url, headers, body: JSON.stringify({ auth: login.request }) }, signal);
  if (answer.status !== 201 && answer.status !== 200) throw refusal(login, url, answer, failed);
  const token = answer.header('x-subject-token');
  const body = parsed(answer.text);
  if (token === undefined || body?.token === undefined)
    throw failed('permanent', `${url} answered ${answer.status}, but not as Keystone does (${token === undefined ? 'no X-Subject-Token' : 'no token in the body'}); expected the URL of Keystone in auth.url`);
  const { expires_at: expires, issued_at: issued } = body.token;
  return { token, lifetimeMs: lifetimeMs(expires, issued, answer.header('date')), ...holderOf(body.token) };
}

/** Whose token that is, as Keystone told: of `token` of its answer. */
export function holderOf(token: NonNullable<Body['token']>): TokenHolder {
  const { user, project, domain, roles, methods, catalog } = token;
  return {
    user: namedOf(user), project: namedOf(project), domain: namedOf(domain), catalogue: services(catalog),
    roles: records(roles).map(({ name }) => String(name)), methods: Array.isArray(methods) ? methods.map(String) : [],
  };
}

function namedOf(value: unknown): Named | undefined {
  const [record] = records([value]);
  return record === undefined ? undefined : { id: String(record['id']), name: String(record['name']) };
}

/** With /v3, whether it was written or not. */
export function identityUrl(url: string): string {
  const bare = url.replace(/\/+$/, '').replace(/\/v2\.0$/, '');
  return bare.endsWith('/v3') ? bare : `${bare}/v3`;
}

function requestOf(auth: KeystoneAuth): object {
  switch (auth.kind) {
    case 'password':
      return { identity: passwordOf(auth), scope: { project: qualified(auth.project) } };
    case 'trust':
      return { identity: passwordOf(auth), scope: { 'OS-TRUST:trust': { id: auth.trustId.reveal() } } };
    case 'application-credential': {
      const { credential } = auth;
      const named = 'id' in credential ? { id: credential.id } : { name: credential.name, user: qualified(credential.user) };
      return { identity: { methods: ['application_credential'], application_credential: { ...named, secret: auth.secret.reveal() } } };
    }
  }
}

function passwordOf({ user, password }: { readonly user: Qualified; readonly password: { reveal(): string } }): object {
  return { methods: ['password'], password: { user: { ...qualified(user), password: password.reveal() } } };
}

function qualified(who: Qualified): object {
  return 'id' in who ? { id: who.id } : { name: who.name, domain: reference(who.domain) };
}

function reference(domain: Reference): object {
  return 'id' in domain ? { id: domain.id } : { name: domain.name };
}

/** Everything by Keystone's clock: ours may be wrong. */
function lifetimeMs(expires: unknown, issued: unknown, date: string | undefined): number | undefined {
  const end = instant(expires);
  const now = instant(date) ?? instant(issued);
  return end === undefined || now === undefined ? undefined : Math.max(0, end - now);
}

function instant(text: unknown): number | undefined {
  const ms = typeof text === 'string' ? Date.parse(text) : Number.NaN;
  return Number.isNaN(ms) ? undefined : ms;
}

export interface Body {
  readonly token?: {
    readonly expires_at?: unknown; readonly issued_at?: unknown; readonly catalog?: unknown; readonly user?: unknown;
    readonly project?: unknown; readonly domain?: unknown; readonly roles?: unknown; readonly methods?: unknown;
  };
  readonly error?: { readonly message?: unknown };
}

function parsed(text: string): Body | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}

/** What of the catalogue can be understood. */
export function services(catalog: unknown): readonly Service[] {
  return records(catalog).map(({ type, endpoints }) => ({
    type: String(type),
    endpoints: records(endpoints).map(({ interface: side, region_id: id, region, url }) => ({ interface: String(side), region: String(id ?? region), url: String(url) })),
  }));
}

function records(value: unknown): readonly Readonly<Record<string, unknown>>[] {
  return Array.isArray(value) ? value.filter((item): item is Record<string, unknown> => typeof item === 'object' && item !== null) : [];
}

function refusal({ who, secret, mending }: Login, url: string, answer: WireAnswer, failed: MakeFailure): Error {
  const { status } = answer;
  const said = saidBy(answer, secret.reveal());
  const refused = `Keystone at ${url} refused ${who} (${status}${said})`;
  // Keystone 22 answers 404 for an application credential that it does not have (any more).
  if (status === 401 || (status === 404 && said.includes('Could not find'))) return failed('permanent', `${refused}: ${mending}`);
  if (status === 403) return failed('permanent', `${refused}: it may not have a token; ask whoever runs this Keystone`);
  if (status === 408 || status === 429) return failed('retryable', `Keystone at ${url} is busy (${status})`, { answered: true, retryAfterMs: retryAfterMs(answer) });
  if (status >= 500) return failed('retryable', `Keystone at ${url} fails (${status}${said})`, { retryAfterMs: retryAfterMs(answer) });
  if (status >= 300 && status < 400) {
    const location = answer.header('location');
    const where = location === undefined ? 'a choice of versions' : `a redirect to ${location}`;
    return failed('permanent', `${url} answered ${where} (${status}); expected the URL of Keystone v3 itself in auth.url, such as https://keystone.example.org:5000/v3`);
  }
  if (status === 404 || status === 405 || status === 410)
    return failed('permanent', `there is no Keystone v3 at ${url} (${status}); expected its URL in auth.url, such as https://keystone.example.org:5000/v3`);
  return failed('permanent', `${refused}: it does not take this kind of login, or not from us`);
}

const MENDING: Readonly<Record<KeystoneAuth['kind'], string>> = {
  password: 'the user name, its domain or the password is wrong, the user is disabled, or it has no role in that project',
  'application-credential': 'its id, name or secret is wrong, it expired or was deleted, or its user is disabled or lost its role',
  trust: 'the user name, its domain or the password is wrong, or the trust expired, was deleted, or is for another user',
};

/** What the server says of it, without what it must not repeat. */
export function saidBy({ text }: WireAnswer, secret: string): string {
  const message = parsed(text)?.error?.message;
  if (typeof message !== 'string') return '';
  const safe = secret === '' ? message : message.replaceAll(secret, '***');
  return `, ${JSON.stringify(safe.replace(/\s+/g, ' ').slice(0, 200))}`;
}

/** Retry-After, in seconds or as a date. */
export function retryAfterMs(answer: WireAnswer): number | undefined {
  const value = answer.header('retry-after');
  if (value === undefined) return undefined;
  if (/^\d+$/.test(value)) return Number(value) * 1000;
  const until = instant(value);
  const now = instant(answer.header('date'));
  return until === undefined || now === undefined ? undefined : Math.max(0, until - now);
}
