/**
 * What a Keystone user writes as the user name of `docker login`: `user`, `user@domain`, `user/project`,
 * `user@domain/project`, `user@domain/project@its-domain`; or the id of an application credential.
 */
import type { Secret } from '../../config/config.ts';
import type { PersonLogin } from '../../openstack/person.ts';

/** A colon would end the user name in Basic credentials, so that there is no prefix to tell it by. */
const CREDENTIAL_ID = /^[0-9a-f]{32}$/;

/** @param defaultDomain of a user whose name says none; a project's is that of the user */
export function parseLogin(name: string, password: Secret, defaultDomain: string): PersonLogin {
  if (CREDENTIAL_ID.test(name)) return { kind: 'application-credential', id: name, secret: password };
  const slash = name.indexOf('/');
  const user = qualified(slash === -1 ? name : name.slice(0, slash), defaultDomain);
  const project = slash === -1 ? undefined : qualified(name.slice(slash + 1), user.domain.name);
  return { kind: 'password', user: user.name, domain: user.domain, password, project };
}

/** At the last `@`: names of users are often addresses of mail. */
function qualified(text: string, domain: string): { readonly name: string; readonly domain: { readonly name: string } } {
  const at = text.lastIndexOf('@');
  return at <= 0 ? { name: text, domain: { name: domain } } : { name: text.slice(0, at), domain: { name: text.slice(at + 1) } };
}
