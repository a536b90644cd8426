/** Whom a name and a password belong to, by Keystone v3: what is asked, and what the answer says of them. */
import type { Hidden, Reference } from './auth.ts';
import type { MakeFailure } from './failure.ts';
import { identityUrl, retryAfterMs } from './identity.ts';
import type { Wire } from './wire.ts';

export type PersonLogin =
  /** Without a project: in the user's default one, if there is one. */
  | { readonly kind: 'password'; readonly user: string; readonly domain: Reference; readonly password: Hidden; readonly project: { readonly name: string; readonly domain: Reference } | undefined }
  /** It has a project of its own. */
  | { readonly kind: 'application-credential'; readonly id: string; readonly secret: Hidden };

/** Names, which are unique in their domain only, and ids. */
export interface Person {
  readonly user: string;
  readonly userId: string;
  readonly domain: string;
  /** In which they logged in; undefined: in none. */
  readonly project: { readonly name: string; readonly id: string; readonly domain: string } | undefined;
  /** Names of roles in the project. */
  readonly roles: readonly string[];
}

/** Undefined: refused. Rejects with a failure in words, or with the signal's reason, where Keystone does not say. */
export async function askWho(login: PersonLogin, keystoneUrl: string, wire: Wire, failed: MakeFailure, signal: AbortSignal): Promise<Person | undefined> {
  const url = `${identityUrl(keystoneUrl)}/auth/tokens?nocatalog`;
  const headers = { 'content-type': 'application/json', accept: 'application/json' };
  const answer = await wire.send({ method: 'POST', url, headers, body: JSON.stringify({ auth: requestOf(login) }) }, signal);
  const { status } = answer;
  if (status === 200 || status === 201) {
    const person = personOf(answer.text);
    if (person === undefined || answer.header('x-subject-token') === undefined) throw failed('permanent', `${url} answered ${status}, but not as Keystone does`);
    return person;
  }
  // Keystone 22 answers 404 for an application credential that it does not have, and 400 for names that none can have.
  if (status === 401 || status === 403 || status === 400 || (status === 404 && answer.text.includes('Could not find'))) return undefined;
  throw failed('retryable', `Keystone at ${url} answered ${status}`, { answered: true, retryAfterMs: retryAfterMs(answer) });
}

function requestOf(login: PersonLogin): object {
  if (login.kind === 'application-credential') return { identity: { methods: ['application_credential'], application_credential: { id: login.id, secret: login.secret.reveal() } } };
  const { user: name, domain, password, project } = login;
  const identity = { methods: ['password'], password: { user: { name, domain, password: password.reveal() } } };
  return project === undefined ? { identity } : { identity, scope: { project } };
}

interface Named {
  readonly id?: unknown;
  readonly name?: unknown;
  readonly domain?: Named;
}

function personOf(text: string): Person | undefined {
  let token: { readonly user?: Named; readonly project?: Named; readonly roles?: unknown } | undefined;
  try {
    ({ token } = JSON.parse(text) as { readonly token?: typeof token }); // Keystone's, or it is no answer of Keystone
  } catch {
    return undefined;
  }
  const { user, project, roles } = token ?? {};
  const words = [user?.name, user?.id, user?.domain?.name];
  const where = project === undefined ? undefined : [project.name, project.id, project.domain?.name];
  if (!words.every(isText) || where?.every(isText) === false) return undefined;
  const [name = '', id = '', domain = ''] = words;
  const [projectName = '', projectId = '', projectDomain = ''] = (where ?? []).filter(isText);
  return {
    user: name, userId: id, domain,
    project: where && { name: projectName, id: projectId, domain: projectDomain },
    roles: Array.isArray(roles) ? roles.map((role: Named | null) => role?.name).filter(isText) : [],
  };
}

function isText(value: unknown): value is string {
  return typeof value === 'string';
}
