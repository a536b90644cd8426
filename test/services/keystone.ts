/** What an administrator of the tests' Keystone does: users, roles, trusts, credentials; each with a name of its own. */
import { randomBytes } from 'node:crypto';
import type { OpenStackSettings } from './openstack.ts';

export interface MadeUser {
  readonly id: string;
  readonly name: string;
  readonly password: string;
}

export interface Keystone extends AsyncDisposable {
  /** A domain with nobody in it. */
  domain(): Promise<{ readonly id: string }>;
  /** A user without any role, in the domain Default unless another is given. Gone with this object, as are its credentials and trusts. */
  user(inDomain?: { readonly id: string }): Promise<MadeUser>;
  /** A role that means nothing to Swift. */
  role(): Promise<{ readonly id: string; readonly name: string }>;
  /** A project without anybody in it. */
  project(): Promise<{ readonly id: string }>;
  /** Gives a role in a project. */
  grant(userId: string, projectId: string, role: { readonly id: string } | 'member'): Promise<void>;
  disable(userId: string): Promise<void>;
  applicationCredential(user: MadeUser, projectId: string, roles?: readonly { readonly name: string }[]): Promise<{ readonly id: string; readonly name: string; readonly secret: string; remove(): Promise<void> }>;
  /** For S3, with the user's roles in the project. */
  ec2Credential(user: MadeUser, projectId: string): Promise<{ readonly accessKeyId: string; readonly secretAccessKey: string }>;
  /** `trustor` lends its roles in the project. */
  trust(trustor: MadeUser, trusteeId: string, projectId: string, roles: readonly { readonly name: string }[]): Promise<{ readonly id: string; remove(): Promise<void> }>;
}

export async function openKeystone({ authUrl, adminPassword, domain, username, userId, password, projectId }: OpenStackSettings): Promise<Keystone> {
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

  async function asUser(user: MadeUser, project: string): Promise<string> {
    return await logIn({ id: user.id, password: user.password }, { project: { id: project } });
  }

  /**
   * SQLite gives the number of the last row again once that row is gone, and Keystone leaves the roles of a deleted
   * application credential under its number: the next one would be refused as a duplicate. So one stays behind it, with
   * a role that no other has.
   */
  async function keepRow(): Promise<void> {
    const name = `umbra-keeps-${randomBytes(6).toString('hex')}`;
    const { role } = await call('POST', '/roles', { role: { name } });
    await call('PUT', `/projects/${projectId}/users/${userId}/roles/${role?.id}`);
    const token = await asUser({ id: userId, name: username, password }, projectId);
    await call('POST', `/users/${userId}/application_credentials`, { application_credential: { name, roles: [{ name }] } }, token);
  }

  return {
    async domain() {
      const id = await make('/domains', 'domain', { name: `umbra-${randomBytes(6).toString('hex')}` });
      // Keystone removes none that is enabled.
      undo.push(async () => await call('PATCH', `/domains/${id}`, { domain: { enabled: false } }));
      return { id };
    },
    async user(inDomain = { id: 'default' }) {
      const [name, secret] = [`umbra-${randomBytes(6).toString('hex')}`, randomBytes(12).toString('hex')];
      return { id: await make('/users', 'user', { name, password: secret, domain_id: inDomain.id }), name, password: secret };
    },
    async role() {
      const name = `umbra-${randomBytes(6).toString('hex')}`;
      return { id: await make('/roles', 'role', { name }), name };
    },
    async project() {
      return { id: await make('/projects', 'project', { name: `umbra-${randomBytes(6).toString('hex')}`, domain_id: 'default' }) };
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
      const name = `umbra-${randomBytes(6).toString('hex')}`;
      const { application_credential: made } = await call('POST', path, { application_credential: { name, ...(roles && { roles }) } }, token);
      const { id, secret } = made as { readonly id: string; readonly secret: string }; // Keystone's API
      return { id, name, secret, remove: async () => {
        await keepRow();
        await call('DELETE', `${path}/${id}`, undefined, token);
      } };
    },
    async ec2Credential(user, project) {
      const { credential } = await call('POST', `/users/${user.id}/credentials/OS-EC2`, { tenant_id: project });
      const { access, secret } = credential as unknown as { readonly access: string; readonly secret: string }; // Keystone's API
      return { accessKeyId: access, secretAccessKey: secret };
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
      await keepRow();
      for (const step of undo.toReversed()) await step();
    },
  };
}
