/**
 * What an operator prepares for the cluster service in the tests' Keystone: a domain for users of nodes and its
 * administrator, a service project, a role that Swift thinks nothing of, the service's user; and tenants with projects of
 * their own. Also what is left there of it all, asked as an administrator.
 */
import { randomBytes } from 'node:crypto';
import { Secret } from '../../src/config/config.ts';
import type { CloudSettings } from '../../src/clusters/keystone/settings.ts';
import type { OpenStackSettings } from './openstack.ts';

export interface Tenant {
  readonly user: { readonly id: string; readonly name: string; readonly password: string };
  readonly projectId: string;
  /** A fresh token by password, in the project. */
  token(): Promise<string>;
}

export interface Left {
  /** Names of users in the domain of nodes, of clusters of the tenants' projects. */
  readonly users: readonly string[];
  /** How many trusts tenants have lent. */
  readonly trusts: number;
  readonly applicationCredentials: readonly string[];
}

export interface ClusterCloud {
  readonly settings: CloudSettings;
  /** Of the service's user. */
  readonly role: string;
  /** Whether the service's user has it. */
  serviceRole(role: string, has: boolean): Promise<void>;
  tenant(roles?: readonly string[], projectId?: string): Promise<Tenant>;
  /** Has no role in any tenant's project. */
  adminToken(): Promise<string>;
  applicationCredentialToken(tenant: Tenant): Promise<string>;
  left(tenants: readonly Tenant[]): Promise<Left>;
  revoke(tenant: Tenant, role: string): Promise<void>;
  grant(tenant: Tenant, role: string): Promise<void>;
  setEnabled(tenant: Tenant, enabled: boolean): Promise<void>;
  removeProject(id: string): Promise<void>;
  /** As SQLite gives numbers of removed rows again, and Keystone leaves roles under them, each credential is to be made before such a one is removed. */
  keepRow(tenant: Tenant): Promise<void>;
  /** `path` below the tenant's account. */
  swift(tenant: Tenant, method: string, path: string, headers?: Readonly<Record<string, string>>, body?: string): Promise<Response>;
  /** Names of the tenant's containers. */
  containers(tenant: Tenant): Promise<readonly string[]>;
}

type Json = Record<string, unknown>;

export async function clusterCloud(openstack: OpenStackSettings, options: { readonly resellerAdmin?: boolean; readonly admin?: boolean } = {}): Promise<ClusterCloud> {
  const { authUrl, adminPassword } = openstack;
  const origin = openstack.accountUrl.replace(/\/[^/]*$/, '');
  const fresh = (what: string): string => `${what}-${randomBytes(5).toString('hex')}`;

  const logIn = async (identity: object, scope?: object): Promise<string> => {
    const answer = await fetch(`${authUrl}/auth/tokens`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ auth: { identity, ...(scope && { scope }) } }) });
    const token = answer.headers.get('x-subject-token');
    if (token === null) throw new Error(`Keystone answered a login of the tests with ${answer.status} ${await answer.text()}`);
    return token;
  };
  const password = (user: object): object => ({ methods: ['password'], password: { user } });
  const adminToken = async (): Promise<string> => await logIn(password({ name: 'admin', domain: { id: 'default' }, password: adminPassword }), { project: { name: 'admin', domain: { id: 'default' } } });
  const admin = await adminToken();
  const call = async (method: string, path: string, body?: object, token = admin): Promise<Json> => {
    const answer = await fetch(`${authUrl}${path}`, { method, headers: { 'x-auth-token': token, 'content-type': 'application/json' }, ...(body && { body: JSON.stringify(body) }) });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return text === '' ? {} : (JSON.parse(text) as Json); // Keystone's API
  };
  const make = async (path: string, kind: string, values: object): Promise<string> => ((await call('POST', path, { [kind]: values }))[kind] as { readonly id: string }).id;
  const roleId = async (name: string): Promise<string> => {
    const { roles } = (await call('GET', `/roles?name=${name}`)) as { readonly roles?: readonly { readonly id: string }[] };
    return roles?.[0]?.id ?? (await make('/roles', 'role', { name }));
  };

  const domain = fresh('umbra-nodes');
  const domainId = await make('/domains', 'domain', { name: domain });
  const [domainAdmin, servicePassword] = [{ name: 'domain-admin', password: fresh('pass') }, fresh('pass')];
  const domainAdminId = await make('/users', 'user', { ...domainAdmin, domain_id: domainId });
  await call('PUT', `/domains/${domainId}/users/${domainAdminId}/roles/${await roleId('admin')}`);
  await make('/projects', 'project', { name: 'nodes', domain_id: domainId });
  const role = 'registry_user';
  await roleId(role);
  const serviceName = fresh('umbra-service');
  const serviceId = await make('/users', 'user', { name: serviceName, password: servicePassword, domain_id: 'default' });
  const serviceProject = await make('/projects', 'project', { name: serviceName, domain_id: 'default' });
  const serviceRole = async (name: string, has: boolean): Promise<void> => void (await call(has ? 'PUT' : 'DELETE', `/projects/${serviceProject}/users/${serviceId}/roles/${await roleId(name)}`));
  for (const each of ['service', ...(options.resellerAdmin === false ? [] : ['ResellerAdmin']), ...(options.admin === true ? ['admin'] : [])]) await serviceRole(each, true);

  const tenantToken = async ({ user, projectId }: Pick<Tenant, 'user' | 'projectId'>): Promise<string> => await logIn(password({ id: user.id, password: user.password }), { project: { id: projectId } });
  const listed = async (path: string, key: string): Promise<readonly Json[]> => (await call('GET', path))[key] as readonly Json[];

  return {
    role, adminToken, serviceRole,
    settings: {
      url: authUrl, region: undefined, interface: 'public', ca: undefined, insecure: false, openProject: false, accessRules: false,
      service: { user: { name: serviceName, domain: { id: 'default' } }, password: new Secret(servicePassword), project: { name: serviceName, domain: { id: 'default' } } },
      trusteeDomain: { domain: { name: domain }, admin: domainAdmin.name, password: new Secret(domainAdmin.password) },
      serviceProject: { name: 'nodes', domain: { name: domain } },
      roles: { node: role, delegated: [role] },
    },
    async tenant(roles = ['member', role], inProject) {
      const projectId = inProject ?? (await make('/projects', 'project', { name: fresh('tenant'), domain_id: 'default' }));
      const user = { name: fresh('owner'), password: fresh('pass') };
      const id = await make('/users', 'user', { ...user, domain_id: 'default' });
      for (const each of roles) await call('PUT', `/projects/${projectId}/users/${id}/roles/${await roleId(each)}`);
      const made = { user: { id, ...user }, projectId };
      return { ...made, token: async () => await tenantToken(made) };
    },
    async applicationCredentialToken(tenant) {
      const { application_credential: made } = await call('POST', `/users/${tenant.user.id}/application_credentials`, { application_credential: { name: fresh('app') } }, await tenant.token());
      const { id, secret } = made as { readonly id: string; readonly secret: string };
      return await logIn({ methods: ['application_credential'], application_credential: { id, secret } });
    },
    async left(tenants) {
      const users = (await listed(`/users?domain_id=${domainId}`, 'users')).map(({ name }) => String(name)).filter((name) => tenants.some(({ projectId }) => name.includes(projectId)));
      const trusts = (await listed('/OS-TRUST/trusts', 'trusts')).filter((trust) => tenants.some(({ user }) => user.id === trust['trustor_user_id']));
      const credentials = await Promise.all(tenants.map(async ({ user }) => await listed(`/users/${user.id}/application_credentials`, 'application_credentials')));
      return { users, trusts: trusts.length, applicationCredentials: credentials.flat().map(({ name }) => String(name)).filter((name) => name.startsWith('umbra-')) };
    },
    revoke: async ({ user, projectId }, name) => void (await call('DELETE', `/projects/${projectId}/users/${user.id}/roles/${await roleId(name)}`)),
    grant: async ({ user, projectId }, name) => void (await call('PUT', `/projects/${projectId}/users/${user.id}/roles/${await roleId(name)}`)),
    setEnabled: async ({ user }, enabled) => void (await call('PATCH', `/users/${user.id}`, { user: { enabled } })),
    removeProject: async (id) => void (await call('DELETE', `/projects/${id}`)),
    async keepRow(tenant) {
      const name = fresh('keeps');
      await call('PUT', `/projects/${tenant.projectId}/users/${tenant.user.id}/roles/${await roleId(name)}`);
      await call('POST', `/users/${tenant.user.id}/application_credentials`, { application_credential: { name, roles: [{ name }] } }, await tenant.token());
    },
    async swift(tenant, method, path, headers = {}, body) {
      return await fetch(`${origin}/AUTH_${tenant.projectId}${path === '' || path.startsWith('?') ? '' : '/'}${path}`, { method, headers: { 'x-auth-token': await tenant.token(), ...headers }, ...(body !== undefined && { body }) });
    },
    async containers(tenant) {
      const answer = await fetch(`${origin}/AUTH_${tenant.projectId}?format=json`, { headers: { 'x-auth-token': await tenant.token() } });
      return answer.status === 204 || answer.status === 404 ? [] : ((await answer.json()) as readonly { readonly name: string }[]).map(({ name }) => name); // Swift's listing
    },
  };
}
