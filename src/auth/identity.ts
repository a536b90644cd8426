/**
 * Who sends a request, as the rest of Umbra sees them. Made by `authenticate.ts`, judged by `rules.ts`.
 */
import type { UserAccess } from '../config/config.ts';
import type { RegistryError } from '../oci/errors.ts';
import type { ViewId } from '../oci/name.ts';
import type { Grant } from './rules.ts';

/** A token's leave to do something with one name in one view; `catalog` in the place of a name is the catalogue. */
export interface TokenGrant {
  readonly view: ViewId;
  readonly name: string;
  /** Bits of `action.ts`. */
  readonly actions: number;
}

export interface TokenIdentity {
  readonly kind: 'token';
  /** The user it was issued to; undefined: anonymous. */
  readonly subject: string | undefined;
  /** What a name means where neither path nor host name say a view (DESIGN section 3). */
  readonly view: ViewId;
  readonly grants: readonly TokenGrant[];
  readonly expiresAtMs: number;
}

export interface UserIdentity {
  readonly kind: 'user';
  readonly name: string;
  /** A level, which rules may narrow; or what came with the login, where another service vouches for the user. */
  readonly access: UserAccess | readonly Grant[];
}

export interface AnonymousIdentity {
  readonly kind: 'anonymous';
}

/**
 * Credentials came along that are nobody's here. They still pull what anonymous may pull: dockerd sends the user's
 * Docker Hub credentials to mirrors. For anything else they are told so.
 */
export interface StrangerIdentity {
  readonly kind: 'stranger';
  /** What was wrong; never what was sent. */
  readonly problem: string;
  /** They may be somebody's, but that could not be found out now: the answer instead of 401. */
  readonly undecided?: RegistryError;
}

/** A token came along that does not verify. It may do nothing: the client is to get a new one. */
export interface InvalidIdentity {
  readonly kind: 'invalid';
  readonly problem: string;
}

export type Identity = AnonymousIdentity | UserIdentity | TokenIdentity | StrangerIdentity | InvalidIdentity;

export const ANONYMOUS: AnonymousIdentity = Object.freeze({ kind: 'anonymous' });

/** The user's name, for logs and records; undefined: nobody who is known. */
export function subjectOf(identity: Identity): string | undefined {
  if (identity.kind === 'user') return identity.name;
  return identity.kind === 'token' ? identity.subject : undefined;
}

/** The view that a token is bound to. */
export function viewOf(identity: Identity): ViewId | undefined {
  return identity.kind === 'token' ? identity.view : undefined;
}
