/**
 * Access to an object store: a token and where the store answers, for everybody in this process who asks. One login at a
 * time, whoever waits for it; renewed while the token still holds, so that a Keystone that is away for minutes is not
 * noticed. A refused login is not tried again at once: Keystone may lock a user out that fails too often.
 */
import { describeAuth, describeAuthority, type OpenStackAuth, type OpenStackLogin } from './auth.ts';
import { accountUrl, endpointOf } from './catalogue.ts';
import { credentialStamp, readCredential } from './credential-file.ts';
import type { MakeFailure, Retries } from './failure.ts';
import { keystoneToken } from './identity.ts';
import { tempAuthToken } from './tempauth.ts';
import { wire as openWire, type Wire } from './wire.ts';

export interface ObjectStoreAccess {
  /** Of the account, without a trailing slash; ours to call. */
  readonly url: string;
  /** The same account for clients elsewhere; `url` where the catalogue has no public endpoint. */
  readonly publicUrl: string;
  readonly token: string;
}

export interface OpenStackSession {
  /** Rejects with a failure that says what was refused and how to mend it, or with the signal's reason. */
  access(options?: { readonly signal?: AbortSignal | undefined }): Promise<ObjectStoreAccess>;
  /** The store answered 401 to this: the next `access` is another. */
  refused(access: ObjectStoreAccess): void;
  close(): Promise<void>;
}

export interface SessionOptions {
  /** A file is read again when it changes, and when what it said was refused. */
  readonly auth: OpenStackLogin;
  /** Undefined: the only one of the catalogue. */
  readonly region: string | undefined;
  /** Another account at the same endpoints, such as `AUTH_` and a project's id; undefined: our own. */
  readonly account?: string | undefined;
  readonly interface: 'public' | 'internal' | 'admin';
  /** PEM text of authorities trusted beside those that Node trusts. */
  readonly ca: string | undefined;
  /** Certificates are not checked. */
  readonly insecure: boolean;
  readonly nowMs: () => number;
  /** From 0 to less than 1. */
  readonly random: () => number;
  /** Of Keystone alone: its failures are not those of the store. */
  readonly retries: Retries;
  readonly failed: MakeFailure;
}

interface Held {
  readonly access: ObjectStoreAccess;
  readonly grantedMs: number;
  /** From here on another is asked for, while this one is still used. */
  readonly renewMs: number;
  /** From here on this one is not used. */
  readonly endMs: number;
}

const LOGIN_MS = 20_000;
/** A token is renewed after this share of its life, and up to as much later again as the jitter: nodes started together part. */
const RENEW_SHARE = 0.75;
const RENEW_JITTER = 0.15;
/** A request that is on its way when the token ends would be refused. */
const MARGIN_MS = 30_000;
const MARGIN_SHARE = 0.05;
/** After a login that failed. */
const PAUSE_MS = 30_000;
/** A store that refuses a token younger than this does not refuse it for its age. */
const FRESH_MS = 30_000;
/** How often a file that says who we are is looked at. */
const LOOK_MS = 2_000;
/** After so long without another, such a refusal is forgotten. */
const FORGET_MS = 300_000;

export function openStackSession(options: SessionOptions): OpenStackSession {
  return new Session(options, openWire(options));
}

class Session implements OpenStackSession {
  readonly #options: SessionOptions;
  readonly #wire: Wire;
  readonly #closing = new AbortController();
  #held: Held | undefined;
  #login: Promise<Held> | undefined;
  /** No login before, and the failure to answer with meanwhile. */
  #pause: { readonly untilMs: number; readonly error: Error } | undefined;
  #freshRefusals = 0;
  #lastFreshMs = 0;
  /** Out of the file, where there is one. */
  #read: { readonly auth: OpenStackAuth; readonly stamp: string } | undefined;
  #lookedMs = Number.NEGATIVE_INFINITY;

  constructor(options: SessionOptions, wire: Wire) {
    this.#options = options;
    this.#wire = wire;
  }

  async access({ signal }: { readonly signal?: AbortSignal | undefined } = {}): Promise<ObjectStoreAccess> {
    signal?.throwIfAborted();
    this.#closing.signal.throwIfAborted();
    const held = this.#held;
    const now = this.#options.nowMs();
    if (held !== undefined && now < held.endMs) {
      // Whoever fails to renew in the background is heard when the token has ended.
      if (now >= held.renewMs) this.#renewed().catch(() => undefined);
      else this.#look(now);
      return held.access;
    }
    const { access } = await waited(this.#renewed(), signal);
    return access;
  }

  refused(access: ObjectStoreAccess): void {
    const held = this.#held;
    if (held?.access.token !== access.token) return; // somebody told us before
    this.#held = undefined;
    const { nowMs, random, failed } = this.#options;
    const now = nowMs();
    if (now - held.grantedMs >= FRESH_MS) return;
    if (now - this.#lastFreshMs > FORGET_MS) this.#freshRefusals = 0;
    this.#lastFreshMs = now;
    // Not for its age, so another may be refused too: each request would make a login.
    const pauseMs = Math.floor((1 + random()) * Math.min(PAUSE_MS, 500 * 2 ** this.#freshRefusals++));
    const message = `the object store at ${access.url} refuses a token that ${this.#authority()} just gave for ${describeAuth(this.#who())}; does it ask the same Keystone?`;
    this.#pause = { untilMs: now + pauseMs, error: failed('retryable', message, { answered: true, retryAfterMs: pauseMs }) };
  }

  async close(): Promise<void> {
    this.#closing.abort(new Error('this session with the object store is closed'));
    await this.#login?.catch(() => undefined /* who waits is told */);
    await this.#wire.close();
  }

  #renewed(): Promise<Held> {
    if (this.#login !== undefined) return this.#login;
    this.#login = this.#unlessPaused().finally(() => {
      this.#login = undefined;
    });
    return this.#login;
  }

  async #unlessPaused(): Promise<Held> {
    const pause = this.#pause;
    // Another credential was not refused yet.
    if (pause !== undefined && this.#options.nowMs() < pause.untilMs && !(await this.#changed())) throw pause.error;
    this.#pause = undefined;
    return await this.#logIn();
  }

  /** Nobody waits for it: a credential that is replaced is good for a while yet. */
  #look(now: number): void {
    if (this.#options.auth.kind !== 'file' || now - this.#lookedMs < LOOK_MS) return;
    this.#lookedMs = now;
    void this.#changed().then(async (changed) => (changed ? await this.#renewed() : undefined)).catch(() => undefined);
  }

  async #changed(): Promise<boolean> {
    const { auth } = this.#options;
    return auth.kind === 'file' && (await credentialStamp(auth.path)) !== (this.#read?.stamp ?? '');
  }

  async #auth(): Promise<OpenStackAuth> {
    const { auth, failed } = this.#options;
    if (auth.kind !== 'file') return auth;
    this.#read = await readCredential(auth.path, failed);
    return this.#read.auth;
  }

  /** As far as it is known. */
  #who(): OpenStackLogin {
    return this.#read?.auth ?? this.#options.auth;
  }

  /** Under deadlines of its own: whoever asked first may leave while others wait. */
  async #logIn(): Promise<Held> {
    const { retries, nowMs, random, failed } = this.#options;
    try {
      const held = await retries.run(`log in to ${this.#authority()}`, (signal) => this.#ask(signal), { signal: this.#closing.signal, timeoutMs: LOGIN_MS });
      this.#held = held;
      return held;
    } catch (cause) {
      this.#closing.signal.throwIfAborted();
      const retryable = (cause as { readonly failure?: unknown }).failure === 'retryable';
      // The store's own circuit must not take Keystone's failures for the store's.
      const error = retryable ? failed('retryable', (cause as Error).message, { cause, answered: true }) : (cause as Error);
      const pauseMs = retryable ? Math.floor(random() * 2_000) : PAUSE_MS;
      this.#pause = { untilMs: nowMs() + pauseMs, error };
      throw error;
    }
  }

  async #ask(signal: AbortSignal): Promise<Held> {
    const { nowMs, failed } = this.#options;
    const auth = await this.#auth();
    const askedMs = nowMs();
    if (auth.kind === 'tempauth') {
      const { token, lifetimeMs, storageUrl } = await tempAuthToken(auth, this.#wire, failed, signal);
      return this.#hold({ url: storageUrl, publicUrl: storageUrl, token }, askedMs, lifetimeMs);
    }
    const { token, lifetimeMs, catalogue } = await keystoneToken(auth, this.#wire, failed, signal);
    const wanted = { type: 'object-store', region: this.#options.region, interface: this.#options.interface };
    const ours = endpointOf(catalogue, wanted);
    if ('problem' in ours) throw failed('permanent', `${this.#authority()} let ${describeAuth(auth)} in, but ${ours.problem}`);
    const theirs = endpointOf(catalogue, { ...wanted, interface: 'public' });
    return this.#hold({ url: ours.url, publicUrl: 'url' in theirs ? theirs.url : ours.url, token }, askedMs, lifetimeMs);
  }

  #hold(access: ObjectStoreAccess, grantedMs: number, lifetimeMs = Number.POSITIVE_INFINITY): Held {
    const share = RENEW_SHARE + RENEW_JITTER * this.#options.random();
    const { account } = this.#options;
    return {
      access: account === undefined ? access : { ...access, url: accountUrl(access.url, account), publicUrl: accountUrl(access.publicUrl, account) },
      grantedMs,
      renewMs: grantedMs + lifetimeMs * share,
      endMs: grantedMs + lifetimeMs - Math.min(MARGIN_MS, lifetimeMs * MARGIN_SHARE),
    };
  }

  #authority(): string {
    return describeAuthority(this.#who());
  }
}

/** The promise, or the signal's reason. */
async function waited<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return await promise;
  const left = Promise.withResolvers<never>();
  const onAbort = (): void => left.reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([promise, left.promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
