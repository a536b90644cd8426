/** A Magnum on a socket that has whatever a test makes up, and pages as the real one does (magnum/api/controllers/v1/collection.py). */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export type Document = Readonly<Record<string, unknown>>;

export interface FakeMagnum extends AsyncDisposable {
  readonly url: string;
  readonly templates: Document[];
  readonly clusters: Document[];
  /** Paths with queries, in order. */
  readonly asked: string[];
  /** Instead of an answer, when it is set: true when it answered. */
  trouble: ((response: ServerResponse, path: string) => boolean) | undefined;
  template(more?: Document): Document;
  /** Of the last template, at the end of the list. */
  cluster(more?: Document): Document;
  /** Puts another in the place of the one with its UUID. */
  change(uuid: unknown, more: Document): void;
}

export async function fakeMagnum(): Promise<FakeMagnum> {
  const server = createServer((request, response) => {
    const path = (request.url ?? '').replace(/^\/v1\//, '');
    magnum.asked.push(path);
    if (magnum.trouble?.(response, path) === true) return;
    const answer = (status: number, body: object): void => void response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    if (!String(request.headers['x-auth-token']).startsWith('service-')) return answer(401, {});
    const [what = '', query] = path.split('?');
    const words = new URLSearchParams(query);
    if (what === 'mservices') return answer(200, { mservices: [] });
    const one = /^clusters\/([0-9a-f-]{36})$/.exec(what)?.[1];
    if (one !== undefined) return answer(magnum.clusters.some(({ uuid }) => uuid === one) ? 200 : 404, {});
    const [name, all] = what === 'clustertemplates' ? ([what, magnum.templates] as const) : (['clusters', magnum.clusters] as const);
    const marker = words.get('marker');
    const from = marker === null ? 0 : all.findIndex(({ uuid }) => uuid === marker) + 1;
    const limit = Number(words.get('limit'));
    const page = all.slice(from, from + limit);
    // Where nobody shall go with a token.
    answer(200, { [name]: page, ...(page.length === limit && { next: 'http://127.0.0.1:1/v1/clusters' }) });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const magnum: FakeMagnum = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, // not a pipe
    templates: [], clusters: [], asked: [], trouble: undefined,
    template(more = {}) {
      const made = { uuid: randomUUID(), name: 't', coe: 'kubernetes', registry_enabled: true, labels: {}, http_proxy: null, apiserver_port: null, ...more };
      magnum.templates.push(made);
      return made;
    },
    cluster(more = {}) {
      const made = {
        uuid: randomUUID(), name: 'c', cluster_template_id: magnum.templates.at(-1)?.['uuid'], project_id: 'p1', user_id: 'u1', status: 'CREATE_COMPLETE', labels: {},
        labels_overridden: {}, labels_added: {}, labels_skipped: {}, node_count: 2, master_count: 1, keypair: null, health_status_reason: {}, faults: {}, ...more,
      };
      magnum.clusters.push(made);
      return made;
    },
    change(uuid, more) {
      const at = magnum.clusters.findIndex((cluster) => cluster['uuid'] === uuid);
      magnum.clusters[at] = { ...magnum.clusters[at], ...more };
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
  return magnum;
}
