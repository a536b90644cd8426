/** The tests' own access to a Swift account: to look at what lies there and to remove it. Plain requests, no driver of ours. */
import type { OpenStackSettings } from './openstack.ts';

export class SwiftAccount {
  readonly #openstack: OpenStackSettings;
  #token: string | undefined;

  constructor(openstack: OpenStackSettings) {
    this.#openstack = openstack;
  }

  /** Names in a container, in order; none where there is no container. */
  async list(container: string, prefix = ''): Promise<string[]> {
    const names: string[] = [];
    for (let marker = ''; ; marker = names.at(-1) ?? '') {
      const answer = await this.call('GET', `${container}?format=json&prefix=${encodeURIComponent(prefix)}&marker=${encodeURIComponent(marker)}`);
      if (answer.status === 404) return [];
      const page = (await answer.json()) as { readonly name: string }[]; // Swift's answer to a listing in JSON
      if (page.length === 0) return names;
      names.push(...page.map(({ name }) => name));
    }
  }

  /** Removes every container whose name begins so, with all that lies there. */
  async remove(prefix: string): Promise<void> {
    if (prefix === '') throw new Error('a whole account is not removed');
    const answer = await this.call('GET', `?format=json&prefix=${encodeURIComponent(prefix)}`);
    for (const { name: container } of (await answer.json()) as { readonly name: string }[]) { // Swift's answer to a listing in JSON
      for (let names = await this.list(container); names.length > 0; names = names.slice(1_000)) {
        const paths = names.slice(0, 1_000).map((name) => `${container}/${name.split('/').map(encodeURIComponent).join('/')}`);
        await (await this.call('POST', '?bulk-delete', paths.join('\n'), { 'content-type': 'text/plain', accept: 'application/json' })).text();
      }
      await (await this.call('DELETE', container)).text();
    }
  }

  /** `path` is below the account's URL, without a `/` before it. */
  async call(method: string, path: string, body?: string, headers: Readonly<Record<string, string>> = {}): Promise<Response> {
    this.#token ??= await this.#login();
    const url = `${this.#openstack.accountUrl}${path === '' || path.startsWith('?') ? '' : '/'}${path}`;
    return fetch(url, { method, headers: { 'x-auth-token': this.#token, ...headers }, ...(body !== undefined && { body }) });
  }

  async #login(): Promise<string> {
    const { authUrl, username, password, domain, project } = this.#openstack;
    const named = { name: domain };
    const answer = await fetch(`${authUrl}/auth/tokens`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        auth: {
          identity: { methods: ['password'], password: { user: { name: username, domain: named, password } } },
          scope: { project: { name: project, domain: named } },
        },
      }),
    });
    const token = answer.headers.get('x-subject-token');
    if (token === null) throw new Error(`Keystone refused the tests' own login: ${answer.status}`);
    return token;
  }
}
