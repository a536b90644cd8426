/**
 * Whom a client's token belongs to, by Keystone: asked with a token of the service's own, remembered by the hash of the
 * client's for a bounded time, asked once for many who wait. Nothing here holds or shows the token of a client but the
 * `Caller` that is given back.
 */
import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { Secret, type ClustersKeystoneConfig } from '../../config/config.ts';
import type { Service } from '../../openstack/catalogue.ts';
import type { FailureOptions } from '../../openstack/failure.ts';
import { identityUrl, keystoneToken, retryAfterMs, services } from '../../openstack/identity.ts';
import { wire as openWire, type WireAnswer } from '../../openstack/wire.ts';

/** Somebody who showed a token that is good. */
export interface Caller {
  readonly userId: string;
  /** Of the user, by name. */
  readonly userDomain: string;
  readonly projectId: string;
  /** Names of their roles in the project. */
  readonly roles: readonly string[];
  /** How they logged in, as Keystone calls it. */
  readonly methods: readonly string[];
  /** Where their token came by a trust: the id of the user to whom it was given. */
  readonly trustee: string | undefined;
  /** Where it came by an application credential: its name. */
  readonly applicationCredential: string | undefined;
  readonly catalogue: readonly Service[];
  readonly token: Secret;
}

export interface Tokens {
  /**
   * Undefined: Keystone does not know the token, or no longer. `unscoped`: it is good, and for no project.
   * @throws KeystoneAway
   */
  caller(token: string): Promise<Caller | 'unscoped' | undefined>;
  close(): Promise<void>;
}

/** Keystone does not answer, or not as it should: whether the token is good is not known. */
export class KeystoneAway extends Error {
  override readonly name = 'KeystoneAway';
  readonly retryAfterSeconds: number;

  constructor(message: string, { cause, retryAfterMs: ms }: FailureOptions = {}) {
    super(message, { cause });
    this.retryAfterSeconds = Math.max(1, Math.ceil((ms ?? DEFAULT_RETRY_MS) / 1000));
  }
}

export interface TokensDeps {
  readonly keystone: ClustersKeystoneConfig;
  readonly nowMs: () => number;
}

const DEFAULT_RETRY_MS = 5_000;
const DEADLINE_MS = 10_000;
/** A token longer than this is no token of Keystone: Fernet with many ids has some hundred characters. */
const MAX_TOKEN_LENGTH = 8_192;
const MAX_KEPT = 5_000;
/** How long one that was refused is not asked for again. */
const REFUSED_MS = 5_000;

interface Kept {
  readonly caller: Caller | 'unscoped' | undefined;
  readonly untilMs: number;
}

export function createTokens({ keystone, nowMs }: TokensDeps): Tokens {
  const failed = (_kind: 'retryable' | 'permanent', message: string, options?: FailureOptions): KeystoneAway => new KeystoneAway(message, options);
  const wire = openWire({ ca: keystone.ca, insecure: keystone.insecure, caKey: 'clusters.keystone.ca', failed });
  const kept = new LRUCache<string, Kept>({ max: MAX_KEPT });
  const asking = new Map<string, Promise<Kept>>();
  const closing = new AbortController();
  let own: Promise<string> | undefined;

  const deadline = (): AbortSignal => AbortSignal.any([closing.signal, AbortSignal.timeout(DEADLINE_MS)]);

  async function logIn(): Promise<string> {
    const { url, username, userDomain, password, project, projectDomain } = keystone;
    const { token } = await keystoneToken(
      { kind: 'password', url, user: { name: username, domain: { name: userDomain } }, password, project: { name: project, domain: { name: projectDomain } } },
      wire, failed, deadline(),
    );
    return token;
  }

  function ownToken(): Promise<string> {
    return (own ??= logIn().catch((error: unknown) => {
      own = undefined;
      throw error;
    }));
  }

  async function askOnce(token: string, serviceToken: string): Promise<WireAnswer> {
    return await wire.send({ method: 'GET', url: `${identityUrl(keystone.url)}/auth/tokens`, headers: { accept: 'application/json', 'x-auth-token': serviceToken, 'x-subject-token': token } }, deadline());
  }

  async function ask(token: string): Promise<Kept> {
    const askedMs = nowMs();
    const first = ownToken();
    let answer = await askOnce(token, await first);
    if (answer.status === 401) {
      // Our own has ended, or was revoked.
      if (own === first) own = undefined;
      answer = await askOnce(token, await ownToken());
    }
    const { status } = answer;
    if (status === 404) return { caller: undefined, untilMs: askedMs + REFUSED_MS };
    if (status === 401 || status === 403) throw new KeystoneAway(`Keystone at ${keystone.url} does not let user ${JSON.stringify(keystone.username)} of clusters.keystone check tokens (${status}); give it the role service or admin in project ${JSON.stringify(keystone.project)}`);
    if (status !== 200) throw new KeystoneAway(`Keystone at ${keystone.url} answered ${status} when a token was to be checked`, { retryAfterMs: retryAfterMs(answer) });
    const { caller, lifetimeMs } = parsed(answer, token);
    return { caller, untilMs: askedMs + Math.min(keystone.cacheForMs, lifetimeMs) };
  }

  return {
    async caller(token) {
      if (token === '' || token.length > MAX_TOKEN_LENGTH || /[^\x21-\x7e]/.test(token)) return undefined;
      const hash = createHash('sha256').update(token).digest('base64');
      const known = kept.get(hash);
      if (known !== undefined && nowMs() < known.untilMs) return known.caller;
      let asked = asking.get(hash);
      if (asked === undefined) {
        asked = ask(token).finally(() => asking.delete(hash));
        asking.set(hash, asked);
      }
      let found: Kept;
      try {
        found = await asked;
      } catch (error) {
        if (error instanceof KeystoneAway) throw error;
        throw new KeystoneAway(`Keystone at ${keystone.url} did not answer in time`, { cause: error });
      }
      kept.set(hash, found);
      return found.caller;
    },
    async close() {
      closing.abort(new Error('the service stops'));
      await Promise.allSettled(asking.values());
      await wire.close();
    },
  };
}

interface Named {
  readonly id?: unknown;
  readonly name?: unknown;
  readonly domain?: Named;
}

interface Body {
  readonly user?: Named;
  readonly project?: Named;
  readonly roles?: readonly (Named | null)[];
  readonly methods?: readonly unknown[];
  readonly catalog?: unknown;
  readonly expires_at?: unknown;
  readonly 'OS-TRUST:trust'?: { readonly trustee_user?: Named };
  readonly application_credential?: Named;
}

/** https://docs.openstack.org/api-ref/identity/v3/#validate-and-show-information-for-token */
function parsed(answer: WireAnswer, token: string): { readonly caller: Caller | 'unscoped'; readonly lifetimeMs: number } {
  const wrong = new KeystoneAway('what answered about a token is no Keystone; expected its URL in clusters.keystone.url');
  let body: Body | undefined;
  try {
    ({ token: body } = JSON.parse(answer.text) as { readonly token?: Body }); // Keystone's, or it is found out below
  } catch {
    throw wrong;
  }
  const { user, project, roles, methods, catalog } = body ?? {};
  if (body === undefined || !isText(user?.id) || !isText(user.domain?.name)) throw wrong;
  // By Keystone's clock: ours may be wrong.
  const [end, now] = [body.expires_at, answer.header('date')].map((text) => (isText(text) ? Date.parse(text) : Number.NaN));
  const lifetimeMs = Number.isNaN(end) || Number.isNaN(now) ? 0 : Math.max(0, (end ?? 0) - (now ?? 0));
  if (!isText(project?.id)) return { caller: 'unscoped', lifetimeMs };
  const caller: Caller = {
    userId: user.id,
    userDomain: user.domain.name,
    projectId: project.id,
    roles: Array.isArray(roles) ? roles.map((role: Named | null) => role?.name).filter(isText) : [],
    methods: Array.isArray(methods) ? methods.filter(isText) : [],
    trustee: body['OS-TRUST:trust'] === undefined ? undefined : String(body['OS-TRUST:trust'].trustee_user?.id),
    applicationCredential: body.application_credential === undefined ? undefined : String(body.application_credential.name),
    catalogue: services(catalog),
    token: new Secret(token),
  };
  return { caller, lifetimeMs };
}

function isText(value: unknown): value is string {
  return typeof value === 'string';
}
