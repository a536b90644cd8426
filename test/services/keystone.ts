/** What an administrator of the tests' Keystone does: users, roles, trusts, credentials; each with a name of its own. */
import { randomBytes } from 'node:crypto';
import type { OpenStackSettings } from './openstack.ts';

export interface MadeUser {
  readonly id: string;
  readonly name: string;
  readonly password: string;
}

export interface Keystone extends AsyncDisposable {
  /** A user without any role. Gone with this object, as are its credentials and trusts. */
  user(): Promise<MadeUser>;
  /** A role that means nothing to Swift. */
  role(): Promise<{ readonly id: string; readonly name: string }>;
  /** Gives a role in a project. */
  grant(userId: string, projectId: string, role: { readonly id: string } | 'member'): Promise<void>;
  disable(userId: string): Promise<void>;
  applicationCredential(user: MadeUser, projectId: string, roles?: readonly { readonly name: string }[]): Promise<{ readonly id: string; readonly name: string; readonly secret: string; remove(): Promise<void> }>;
  /** `trustor` lends its roles in the project. */
  trust(trustor: MadeUser, trusteeId: string, projectId: string, roles: readonly { readonly name: string }[]): Promise<{ readonly id: string; remove(): Promise<void> }>;
}

export async function openKeystone({ authUrl, adminPassword, domain }: Pick<OpenStackSettings, 'authUrl' | 'adminPassword' | 'domain'>): Promise<Keystone> {
  const admin = await logIn({ name: 'admin', domain: { name: domain }, password: adminPassword }, { project: { name: 'admin', domain: { name: domain } } });
  const undo: (() => Promise<unknown>)[] = [];

  async function logIn(user: object, scope: object): Promise<string> {
    const answer = await fetch(`${authUrl}/auth/tokens`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ auth: { identity: { methods: ['password'], password: { user } }, scope } }),
    });
    const token = answer.headers.get('x-subject-token');
    if (token === null) throw new Error(`Keystone answered a login of the tests with ${answer.status} ${await answer.text()}`);
    return token;
  }

  async function call(method: string, path: string, body?: object, token = admin): Promise<Record<string, { readonly id: string }>> {
    const answer = await fetch(`${authUrl}${path}`, {
      method,
      headers: { 'x-auth-token': token, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return text === '' ? {} : (JSON.parse(text) as Record<string, { readonly id: string }>); // Keystone's API
  }

  async function make(path: string, kind: string, values: object): Promise<string> {
    const { [kind]: made } = await call('POST', path, { [kind]: values });
    if (made === undefined) throw new Error(`POST ${path} gave no ${kind}`);
    undo.push(async () => await call('DELETE', `${path}/${made.id}`));
    return made.id;
  }

  async function asUser({ id, password }: MadeUser, projectId: string): Promise<string> {
    return await logIn({ id, password }, { project: { id: projectId } });
  }

  return {
    async user() {
      const [name, password] = [`umbra-${randomBytes(6).toString('hex')}`, randomBytes(12).toString('hex')];
      return { id: await make('/users', 'user', { name, password, domain_id: 'default' }), name, password };
    },
    async role() {
      const name = `umbra-${randomBytes(6).toString('hex')}`;
      return { id: await make('/roles', 'role', { name }), name };
    },
    async grant(userId, projectId, role) {
      const { roles } = (await call('GET', '/roles?name=member')) as unknown as { readonly roles: readonly { readonly id: string }[] }; // Keystone's API
      await call('PUT', `/projects/${projectId}/users/${userId}/roles/${role === 'member' ? roles[0]?.id : role.id}`);
    },
    async disable(userId) {
      await call('PATCH', `/users/${userId}`, { user: { enabled: false } });
    },
    async applicationCredential(user, projectId, roles) {
      const token = await asUser(user, projectId);
      const path = `/users/${user.id}/application_credentials`;
      const make = async (): Promise<{ readonly id: string; readonly name: string; readonly secret: string }> => {
        const name = `umbra-${randomBytes(6).toString('hex')}`;
        const { application_credential: made } = await call('POST', path, { application_credential: { name, ...(roles && { roles }) } }, token);
        return { ...(made as { readonly id: string; readonly secret: string } /* Keystone's API */), name };
      };
      // Keystone itself tries again when its SQLite was locked, and then finds the name that it made.
      const { id, name, secret } = await make().catch(async (error: Error) => {
        if (!error.message.includes('409')) throw error;
        return await make();
      });
      return { id, name, secret, remove: async () => void (await call('DELETE', `${path}/${id}`, undefined, token)) };
    },
    async trust(trustor, trusteeId, projectId, roles) {
      const token = await asUser(trustor, projectId);
      const { trust } = await call('POST', '/OS-TRUST/trusts', {
        trust: { trustor_user_id: trustor.id, trustee_user_id: trusteeId, project_id: projectId, impersonation: true, roles },
      }, token);
      const id = trust?.id ?? '';
      return { id, remove: async () => void (await call('DELETE', `/OS-TRUST/trusts/${id}`, undefined, token)) };
    },
    async [Symbol.asyncDispose]() {
      for (const step of undo.toReversed()) await step();
    },
  };
}
