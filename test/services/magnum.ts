/**
 * Magnum's API from Debian's packages, over a SQLite file, before the tests' Keystone. Nothing makes clusters: there is no
 * Heat, no Nova, no conductor; tests write rows into its database, as its conductor would.
 */
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync, type SQLInputValue } from 'node:sqlite';
import type { CloudSettings } from '../../src/clusters/keystone/settings.ts';
import { Daemon } from './daemon.ts';
import type { OpenStackSettings } from './openstack.ts';
import { freePort } from './ports.ts';

type Row = Readonly<Record<string, SQLInputValue>>;

const APP = join(import.meta.dirname, 'magnum/app.py');
/** As packages ship it, with nothing before the API but the check of tokens. */
const PASTE = `[pipeline:main]
pipeline = request_id authtoken api_v1
[app:api_v1]
paste.app_factory = magnum.api.app:app_factory
[filter:authtoken]
acl_public_routes = /, /v1
paste.filter_factory = magnum.api.middleware.auth_token:AuthTokenMiddleware.factory
[filter:request_id]
paste.filter_factory = oslo_middleware:RequestId.factory
`;

export class Magnum implements AsyncDisposable {
  readonly url: string;
  readonly #folder: string;
  readonly #port: number;
  readonly #rows: DatabaseSync;
  #daemon: Daemon | undefined;

  private constructor(folder: string, port: number) {
    this.#folder = folder;
    this.#port = port;
    this.url = `http://127.0.0.1:${port}`;
    this.#rows = new DatabaseSync(join(folder, 'magnum.db'), { timeout: 20_000 });
  }

  /** @param trusteeDomain of its own, with an administrator, as it must have */
  static async start({ authUrl, adminPassword }: OpenStackSettings, trusteeDomain: CloudSettings['trusteeDomain']): Promise<Magnum> {
    const folder = await mkdtemp(join(tmpdir(), 'umbra-magnum-'));
    const domain = trusteeDomain !== undefined && 'name' in trusteeDomain.domain ? trusteeDomain.domain.name : '';
    await writeFile(join(folder, 'api-paste.ini'), PASTE);
    await writeFile(join(folder, 'magnum.conf'), `[DEFAULT]
transport_url = fake://
[api]
api_paste_config = ${folder}/api-paste.ini
[database]
connection = sqlite:///${folder}/magnum.db
[keystone_authtoken]
www_authenticate_uri = ${authUrl}
auth_url = ${authUrl}
auth_type = password
username = admin
password = ${adminPassword}
user_domain_id = default
project_name = admin
project_domain_id = default
token_cache_time = -1
[trust]
trustee_domain_name = ${domain}
trustee_domain_admin_name = ${trusteeDomain?.admin}
trustee_domain_admin_password = ${trusteeDomain?.password.reveal()}
`);
    const magnum = new Magnum(folder, await freePort());
    await magnum.begin();
    return magnum;
  }

  /** Starts it, again after `kill`. */
  async begin(): Promise<void> {
    const command = ['uwsgi', '--plugins', 'python3', '--http-socket', `127.0.0.1:${this.#port}`, '--add-header', 'Connection: close', '--wsgi-file', APP, '--need-app', '--die-on-term', '--buffer-size', '65535', '--disable-logging'];
    this.#daemon = await Daemon.start({ command, env: { MAGNUM_CONF: join(this.#folder, 'magnum.conf'), NO_PROXY: '127.0.0.1' }, ready: async () => await fetch(this.url).then(({ ok }) => ok, () => false) });
  }

  async kill(): Promise<void> {
    await this.#daemon?.kill();
    this.#daemon = undefined;
  }

  /** @returns its UUID */
  template(more: Row = {}): string {
    const uuid = randomUUID();
    this.#insert('cluster_template', { uuid, name: 'template', project_id: 'p', user_id: 'u', image_id: 'fedora', coe: 'kubernetes', labels: '{}', registry_enabled: 1, public: 1, hidden: 0, tls_disabled: 0, server_type: 'vm', floating_ip_enabled: 1, master_lb_enabled: 0, ...more });
    return uuid;
  }

  /** With two workers and a master. @returns its UUID */
  cluster(owner: { readonly user: { readonly id: string }; readonly projectId: string }, template: string, { labels = {}, ...more }: { readonly labels?: object; readonly name?: string } = {}): string {
    const uuid = randomUUID();
    this.#insert('cluster', { uuid, name: 'cluster', project_id: owner.projectId, user_id: owner.user.id, cluster_template_id: template, labels: JSON.stringify(labels), status: 'CREATE_COMPLETE', status_reason: null, create_timeout: 60, floating_ip_enabled: 1, master_lb_enabled: 0, ...more });
    for (const [role, count] of [['master', 1], ['worker', 2]] as const) this.#insert('nodegroup', { uuid: randomUUID(), name: `default-${role}`, cluster_id: uuid, project_id: owner.projectId, role, node_count: count, is_default: 1, status: 'CREATE_COMPLETE', node_addresses: '[]' });
    return uuid;
  }

  label(cluster: string, labels: object): void {
    this.#rows.prepare('update cluster set labels = ? where uuid = ?').run(JSON.stringify(labels), cluster);
  }

  remove(cluster: string): void {
    this.#rows.prepare('delete from nodegroup where cluster_id = ?').run(cluster);
    this.#rows.prepare('delete from cluster where uuid = ?').run(cluster);
  }

  #insert(table: string, row: Row): void {
    const names = Object.keys(row);
    this.#rows.prepare(`insert into ${table} (${names.join(', ')}, created_at) values (${names.map(() => '?').join(', ')}, '2026-01-01 00:00:00')`).run(...Object.values(row));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    this.#rows.close();
    await rm(this.#folder, { recursive: true });
  }
}
