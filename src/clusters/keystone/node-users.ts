/** Users of nodes in the domain that is theirs, and the role that lets them log in to the service project. */
import { identityUrl } from '../../openstack/identity.ts';
import type { Qualified } from '../../openstack/auth.ts';
import type { Secret } from '../../config/config.ts';
import { CloudError, isCloudError } from './cloud-error.ts';
import { jsonOf, type Connection } from './connection.ts';
import { describeReference, queryOf, type Logins } from './logins.ts';
import type { CloudSettings } from './settings.ts';

export interface NodeUser {
  readonly id: string;
  readonly name: string;
  readonly description: string;
}

export interface NodeUsers {
  /** There is such a user with this password, and its id. */
  ensure(user: { readonly name: string; readonly password: Secret; readonly description: string }, signal: AbortSignal): Promise<string>;
  find(name: string, signal: AbortSignal): Promise<string | undefined>;
  /** With its roles and, where Keystone keeps users itself, its trusts. Gone already: no error. */
  remove(id: string, signal: AbortSignal): Promise<void>;
  list(signal: AbortSignal): Promise<readonly NodeUser[]>;
  /** The service project's id. */
  serviceProject(signal: AbortSignal): Promise<string>;
  /** Gives the user its role there. */
  admit(userId: string, signal: AbortSignal): Promise<void>;
  /** Names of the roles that anybody has in any project, inherited ones too. Undefined: the service may not look. */
  rolesOf(userId: string, projectId: string, signal: AbortSignal): Promise<readonly string[] | undefined>;
  /** False only where Keystone said so. */
  projectExists(id: string, signal: AbortSignal): Promise<boolean>;
  /** Undefined: there is none such. */
  user(id: string, signal: AbortSignal): Promise<{ readonly name: string; readonly enabled: boolean } | undefined>;
}

export interface NodeUsersDeps {
  readonly settings: CloudSettings;
  readonly connection: Connection;
  readonly logins: Logins;
}

type Row = Readonly<Record<string, unknown>>;

export function nodeUsers({ settings, connection, logins }: NodeUsersDeps): NodeUsers {
  const base = identityUrl(settings.url);
  const { trusteeDomain, serviceProject, roles } = settings;
  const domainName = trusteeDomain === undefined ? '' : describeReference(trusteeDomain.domain);
  const remedies = { 403: `give user ${JSON.stringify(trusteeDomain?.admin)} the role admin on domain ${domainName}` };
  const ids: { project?: string; role?: string } = {};

  /** As the domain's administrator. */
  const call = async (what: string, method: 'GET' | 'POST' | 'PUT' | 'DELETE', path: string, expect: readonly number[], signal: AbortSignal, more: { readonly json?: object; readonly secrets?: readonly string[]; readonly once?: boolean } = {}): Promise<{ readonly status: number; readonly rows: Row }> =>
    await logins.as('admin', async ({ token }) => {
      const { status, text } = await connection.call({ what, method, url: `${base}${path}`, token, expect, remedies, ...more }, signal);
      return { status, rows: text === '' ? {} : (jsonOf(what, text) as Row) }; // Keystone's answer
    }, signal);
  const domainId = async (signal: AbortSignal): Promise<string> => {
    const { domain } = await logins.admin(signal);
    if (domain === undefined) throw new CloudError('permanent', `the token for domain ${domainName} is not one for a domain`);
    return domain.id;
  };
  const listed = (rows: Row, key: string): readonly Row[] => (Array.isArray(rows[key]) ? (rows[key] as readonly Row[]) : []); // Keystone's answer

  const find = async (name: string, signal: AbortSignal): Promise<string | undefined> => {
    const { rows } = await call(`look for user ${name} of domain ${domainName}`, 'GET', `/users?${queryOf(name, await domainId(signal))}`, [200], signal);
    const [user] = listed(rows, 'users').filter((row) => row['name'] === name);
    return user === undefined ? undefined : String(user['id']);
  };

  const projectId = async (signal: AbortSignal): Promise<string> => {
    const known = ids.project;
    if (known !== undefined) return known;
    if (serviceProject === undefined) throw new CloudError('permanent', 'there is no clusters.serviceProject in which users of nodes could be let in');
    return (ids.project = 'id' in serviceProject ? serviceProject.id : await projectNamed(serviceProject, signal));
  };
  const domainNamed = async (name: string, signal: AbortSignal): Promise<string> => {
    const { rows } = await call(`look for domain ${name}`, 'GET', `/domains?${new URLSearchParams({ name }).toString()}`, [200], signal);
    const [domain] = listed(rows, 'domains');
    if (domain === undefined) throw new CloudError('permanent', `there is no domain ${JSON.stringify(name)} (clusters.serviceProjectDomain): create it`);
    return String(domain['id']);
  };
  const projectNamed = async (what: Extract<Qualified, { readonly name: string }>, signal: AbortSignal): Promise<string> => {
    const { domain } = what;
    const id = 'id' in domain ? domain.id : await domainNamed(domain.name, signal);
    const { rows } = await call(`look for project ${what.name}`, 'GET', `/projects?${queryOf(what.name, id)}`, [200], signal);
    const [project] = listed(rows, 'projects');
    if (project === undefined) throw new CloudError('permanent', `there is no project ${JSON.stringify(what.name)} in domain ${describeReference(domain)} (clusters.serviceProject): create it`);
    return String(project['id']);
  };
  const roleId = async (signal: AbortSignal): Promise<string> => {
    if (ids.role !== undefined) return ids.role;
    const { rows } = await call(`look for role ${roles.node}`, 'GET', `/roles?${new URLSearchParams({ name: roles.node }).toString()}`, [200], signal);
    const [role] = listed(rows, 'roles');
    if (role === undefined) throw new CloudError('permanent', `there is no role ${JSON.stringify(roles.node)} (clusters.roles.node): create it with \`openstack role create ${roles.node}\`, or name one that is none of Swift's operator roles`);
    return (ids.role = String(role['id']));
  };

  /** As whoever of ours may. Undefined: neither may. */
  const look = async (what: string, path: string, signal: AbortSignal): Promise<{ readonly status: number; readonly rows: Row } | undefined> => {
    for (const who of ['service', 'admin'] as const) {
      if (who === 'admin' && trusteeDomain === undefined) break;
      try {
        const { status, text } = await logins.as(who, async ({ token }) => await connection.call({ what, method: 'GET', url: `${base}${path}`, token, expect: [200, 404] }, signal), signal);
        return { status, rows: status === 404 ? {} : (jsonOf(what, text) as Row) }; // Keystone's answer
      } catch (error) {
        if (!isCloudError(error, 401, 403)) throw error;
      }
    }
    return undefined;
  };

  return {
    find,
    serviceProject: projectId,
    async ensure({ name, password, description }, signal) {
      const what = `make user ${name} of domain ${domainName}`;
      // Password rules of the cloud must not lock nodes out.
      const options = { ignore_password_expiry: true, ignore_change_password_upon_first_use: true };
      const user = { name, password: password.reveal(), description, domain_id: await domainId(signal), enabled: true, options };
      const { status, rows } = await call(what, 'POST', '/users', [201, 409], signal, { json: { user }, secrets: [password.reveal()] });
      if (status === 201) return String((rows['user'] as Row)['id']); // Keystone's answer
      // Ours, of a call whose answer was lost, with this password. Setting it again would revoke all tokens of this second, later ones too.
      const id = await find(name, signal);
      if (id === undefined) throw new CloudError('retryable', `${what}: Keystone has it and does not list it`);
      return id;
    },
    async remove(id, signal) {
      await call(`remove user with id ${id} of domain ${domainName}`, 'DELETE', `/users/${id}`, [204, 404], signal);
    },
    async list(signal) {
      const { rows } = await call(`list the users of domain ${domainName}`, 'GET', `/users?${new URLSearchParams({ domain_id: await domainId(signal) }).toString()}`, [200], signal);
      return listed(rows, 'users').map((row) => ({ id: String(row['id']), name: String(row['name']), description: typeof row['description'] === 'string' ? row['description'] : '' }));
    },
    async admit(userId, signal) {
      const [project, role] = [await projectId(signal), await roleId(signal)];
      await call(`give user with id ${userId} the role ${roles.node} in project ${serviceProject === undefined ? '' : describeReference(serviceProject)}`, 'PUT', `/projects/${project}/users/${userId}/roles/${role}`, [204], signal);
    },
    async rolesOf(userId, inProject, signal) {
      const query = new URLSearchParams({ 'user.id': userId, 'scope.project.id': inProject, effective: '', include_names: '' });
      const answer = await look('look for roles', `/role_assignments?${query.toString()}`, signal);
      if (answer === undefined) return undefined;
      return answer.status === 404 ? [] : listed(answer.rows, 'role_assignments').map((row) => String((row['role'] as Row | undefined)?.['name'])); // Keystone's answer
    },
    async projectExists(id, signal) {
      return (await look('look for a project', `/projects/${id}`, signal))?.status !== 404;
    },
    async user(id, signal) {
      const answer = await look('look for a user', `/users/${id}`, signal);
      if (answer === undefined) return { name: id, enabled: true };
      if (answer.status === 404) return undefined;
      const { user } = answer.rows as { readonly user: Row }; // Keystone's answer
      return { name: String(user['name']), enabled: user['enabled'] === true };
    },
  };
}
