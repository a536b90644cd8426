/**
 * What a client is told that may not do something, and whether `/v2/` asks it to authenticate
 * (facts about clients: "Authentication rules that follow").
 */
import type { Action } from '../config/config.ts';
import { RegistryError } from '../oci/errors.ts';
import type { ViewId } from '../oci/name.ts';
import { bearerChallenge } from './challenge.ts';
import type { Identity } from './identity.ts';
import { repositoryScope } from './scopes.ts';

/** What was asked for, in the client's words. */
export type Wanted =
  | {
      readonly kind: 'repository';
      readonly action: Action;
      readonly view: ViewId;
      readonly spelling: string;
      readonly ns: string | undefined;
    }
  /** `prefix` is the view of a path like `/v2/<view>.view/_catalog`. */
  | { readonly kind: 'catalog'; readonly view: ViewId; readonly prefix: ViewId | undefined }
  | { readonly kind: 'ping' };

export interface Refusal {
  /** UNAUTHORIZED where other credentials could help, DENIED where not, UNSUPPORTED on a mirror; or why nobody can tell now. */
  readonly error: RegistryError;
  /** The value of WWW-Authenticate. */
  readonly challenge: string | undefined;
}

export interface ListenerFacts {
  /** Pull only, never challenges. */
  readonly mirror: boolean;
  /** See `Authenticate`. */
  readonly open: boolean;
}

/**
 * Does `GET /v2/` answer 401? skopeo and dockerd's classic store never authenticate after a 200, so it does wherever a
 * login could matter to a later push, and pulls go on with anonymous tokens. It does not on a mirror, where dockerd
 * would hand over the user's Docker Hub credentials, nor where there is nothing to log in for.
 */
export function pingNeedsChallenge(identity: Identity, { mirror, open }: ListenerFacts): boolean {
  if (mirror || identity.kind === 'user' || identity.kind === 'token') return false;
  return !open || identity.kind === 'invalid';
}

/** @param baseUrl the listener's public URL, or what the client reached it by */
export function refuse(identity: Identity, wanted: Wanted, { mirror, open }: ListenerFacts, baseUrl: string): Refusal {
  const what = describe(wanted);
  if (mirror && wanted.kind === 'repository' && wanted.action !== 'pull') {
    return { error: new RegistryError('UNSUPPORTED', `cannot ${what}: this address is a mirror, for pulling only`), challenge: undefined };
  }
  if (identity.kind === 'stranger' && identity.undecided !== undefined) return { error: identity.undecided, challenge: undefined };
  const message = messageFor(identity, what, { mirror, open });
  const withToken = identity.kind === 'invalid' || identity.kind === 'token';
  if (mirror || identity.kind === 'user' || (open && !withToken)) {
    return { error: new RegistryError('DENIED', message), challenge: undefined };
  }
  const error = identity.kind === 'invalid' ? 'invalid_token' : identity.kind === 'token' ? 'insufficient_scope' : undefined;
  return { error: new RegistryError('UNAUTHORIZED', message), challenge: bearerChallenge({ baseUrl, scope: scopeOf(wanted), error }) };
}

function messageFor(identity: Identity, what: string, { mirror, open }: ListenerFacts): string {
  switch (identity.kind) {
    case 'anonymous':
      if (open) return `nobody may ${what}: no users are configured`;
      return mirror ? `anonymous may not ${what}` : `authentication required to ${what}`;
    case 'user':
      return `${identity.name} may not ${what}`;
    case 'token':
      return `the token does not allow ${identity.subject ?? 'anonymous'} to ${what}`;
    case 'stranger':
    case 'invalid':
      return `cannot ${what}: ${identity.problem}`;
  }
}

function describe(wanted: Wanted): string {
  switch (wanted.kind) {
    case 'repository':
      return `${VERBS[wanted.action]} ${wanted.spelling} (view ${wanted.view})`;
    case 'catalog':
      return `list the catalogue (view ${wanted.view})`;
    case 'ping':
      return 'use this registry';
  }
}

const VERBS: Readonly<Record<Action, string>> = { pull: 'pull', push: 'push to', delete: 'delete from', admin: 'administer' };

function scopeOf(wanted: Wanted): string | undefined {
  switch (wanted.kind) {
    case 'repository':
      return wanted.action === 'admin' ? undefined : repositoryScope(wanted.action, wanted.spelling, wanted.ns);
    case 'catalog':
      return `registry:${wanted.prefix === undefined ? '' : `${wanted.prefix}.view/`}catalog:*`;
    case 'ping':
      return undefined;
  }
}
