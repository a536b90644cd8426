/** `/v1/clustertemplates` and, as it was called before, `/v1/baymodels`. */
import type { Answer } from './exchange.ts';
import { notAllowed, type Resource } from './handler.ts';
import type { TemplateResource, Templates } from './templates.ts';

export function templateRoutes(templates: Templates, resource: TemplateResource, publicUrl: string): Resource {
  return async ({ x, access, rest }): Promise<Answer | undefined> => {
    const [ident, ...more] = rest;
    if (more.length > 0) return undefined;
    const isRead = x.method === 'GET' || x.method === 'HEAD';
    if (ident === undefined) {
      if (isRead) return { status: 200, body: await templates.list(access, x.query, resource, false) };
      if (x.method !== 'POST') throw notAllowed('GET, POST');
      const row = await templates.create(access, await x.json());
      return { status: 201, headers: ['Location', `${publicUrl}/v1/${resource}/${row.uuid}`], body: templates.document(row, resource) };
    }
    if (ident === 'detail' && isRead) return { status: 200, body: await templates.list(access, x.query, resource, true) };
    if (isRead) return { status: 200, body: templates.document(await templates.find(access, ident), resource) };
    switch (x.method) {
      case 'PATCH':
        return { status: 200, body: templates.document(await templates.change(access, ident, await x.json()), resource) };
      case 'DELETE':
        await templates.remove(access, ident);
        return { status: 204 };
      default:
        throw notAllowed('GET, PATCH, DELETE');
    }
  };
}
