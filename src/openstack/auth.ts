/** Who we are to Keystone, or to a Swift without it, and where it answers. Parsed and complete: no key is left to guess. */

/** Text that shows nowhere by accident. */
export interface Hidden {
  reveal(): string;
}

/** A domain. */
export type Reference = { readonly id: string } | { readonly name: string };

/** A user or a project: an id is unique, a name only in its domain. */
export type Qualified = { readonly id: string } | { readonly name: string; readonly domain: Reference };

export type OpenStackAuth =
  /** A user, in one of the projects where it has a role. */
  | { readonly kind: 'password'; readonly url: string; readonly user: Qualified; readonly password: Hidden; readonly project: Qualified }
  /** By id, or by name with the user that it belongs to. It has a project of its own: asking for one is refused. */
  | { readonly kind: 'application-credential'; readonly url: string; readonly credential: { readonly id: string } | { readonly name: string; readonly user: Qualified }; readonly secret: Hidden }
  /** A user that another user lent roles of theirs. The trust says in which project: asking for one is refused. */
  | { readonly kind: 'trust'; readonly url: string; readonly user: Qualified; readonly password: Hidden; readonly trustId: Hidden }
  /** Swift's own, version 1. */
  | { readonly kind: 'tempauth'; readonly url: string; /** `account:user` */ readonly username: string; readonly password: Hidden };

/** As a file says it that may change meanwhile: JSON with the words of `auth` (`credential-file.ts`). */
export interface CredentialFile {
  readonly kind: 'file';
  readonly path: string;
}

export type OpenStackLogin = OpenStackAuth | CredentialFile;

/** Who is asked for tokens, for messages. */
export function describeAuthority(auth: OpenStackLogin): string {
  if (auth.kind === 'file') return 'Keystone';
  return auth.kind === 'tempauth' ? auth.url : `Keystone at ${auth.url}`;
}

/** For messages, also those that clients see: no secret, and no id of a trust (DESIGN section 11). `user "demo" of domain "Default" in project "demo" of domain "Default"`. */
export function describeAuth(auth: OpenStackLogin): string {
  switch (auth.kind) {
    case 'password':
      return `user ${describeQualified(auth.user)} in project ${describeQualified(auth.project)}`;
    case 'application-credential':
      return 'id' in auth.credential
        ? `application credential ${JSON.stringify(auth.credential.id)}`
        : `application credential ${JSON.stringify(auth.credential.name)} of user ${describeQualified(auth.credential.user)}`;
    case 'trust':
      return `user ${describeQualified(auth.user)} by a trust`;
    case 'tempauth':
      return `user ${JSON.stringify(auth.username)}`;
    case 'file':
      return `whoever ${auth.path} names`;
  }
}

function describeQualified(who: Qualified): string {
  return 'id' in who ? `with id ${who.id}` : `${JSON.stringify(who.name)} of domain ${'id' in who.domain ? `with id ${who.domain.id}` : JSON.stringify(who.domain.name)}`;
}

/** The secret that goes over the wire; to keep it out of what a server says back. */
export function secretOf(auth: OpenStackAuth): Hidden {
  return auth.kind === 'application-credential' ? auth.secret : auth.password;
}
