/** docs/clusters-api.md: its tables are written out of what the service reads requests by, and its paths are those that it has. */
import { readFileSync } from 'node:fs';
import * as v from 'valibot';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { WIRE_SCHEMAS } from '../../bootstrap-wire.ts';
import { FORMATS } from '../render/render.ts';
import { testService, type TestService } from '../service.fixture.ts';
import { ROLES } from '../words.ts';
import { CLUSTER_FIELDS, CLUSTER_READ_ONLY } from './cluster-fields.ts';
import type { Field, ReadOnlyField } from './field.ts';
import { LABELS } from './labels.ts';
import { TEMPLATE_FIELDS, TEMPLATE_READ_ONLY } from './template-fields.ts';

const page = new URL('../../../docs/clusters-api.md', import.meta.url);

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`).join('\n');
}

function fields(settable: readonly Field[], readOnly: readonly ReadOnlyField[]): string {
  return table(['field', 'what stands there', 'default', ''], [
    ...settable.map(({ name, type, description, fallback, mandatory = false }) => [`\`${name}\``, type.words, fallback === undefined ? (mandatory ? 'required' : '') : `\`${JSON.stringify(fallback)}\``, description]),
    ...readOnly.map(({ name, words, description }) => [`\`${name}\``, words, 'only read', description]),
  ]);
}

/** A row for each value that has a description, by its path. */
function body(schema: v.GenericSchema): string {
  return table(['key', ''], rows(schema, ''));
}

function rows(schema: v.GenericSchema, path: string, note = ''): readonly (readonly string[])[] {
  const description = v.getDescription(schema);
  if (description !== undefined) return [[`\`${path}\`${note}`, description]];
  const { wrapped, entries = {} } = schema as { readonly wrapped?: v.GenericSchema; readonly entries?: Readonly<Record<string, v.GenericSchema>> };
  if (wrapped !== undefined) return rows(wrapped, path, ', if any');
  return Object.entries(entries).flatMap(([name, entry]) => rows(entry, path === '' ? name : `${path}.${name}`));
}

const TABLES: Readonly<Record<string, string>> = {
  'template fields': fields(TEMPLATE_FIELDS, TEMPLATE_READ_ONLY),
  'cluster fields': fields(CLUSTER_FIELDS, CLUSTER_READ_ONLY),
  labels: table(['label', 'value', ''], LABELS.map(({ name, words, description }) => [`\`${name}\``, words, description])),
  artifacts: table(['word', 'value'], [['`role`', ROLES.map((role) => `\`${role}\``).join(', ')], ['`format`', FORMATS.map((format) => `\`${format}\``).join(', ')]]),
  ...Object.fromEntries(Object.entries(WIRE_SCHEMAS).map(([name, schema]) => [name, body(schema)])),
};

test('docs/clusters-api.md says what the schemas say (vitest --update=true writes it)', async () => {
  let text = readFileSync(page, 'utf8');
  for (const [name, content] of Object.entries(TABLES)) {
    text = text.replace(new RegExp(`(?<=<!-- ${name} -->\\n)[^]*?(?=<!-- /${name} -->)`), () => `${content}\n`);
    expect(text).toContain(`<!-- ${name} -->\n${content}\n<!-- /${name} -->`);
  }
  await expect(text).toMatchFileSnapshot(page.pathname);
});

let service: TestService;
beforeAll(async () => void (service = await testService()));
afterAll(async () => await service.close());

test('its requests are answered', async () => {
  const requests = Array.from(readFileSync(page, 'utf8').matchAll(/^\| `(GET|POST|PATCH|DELETE) (\/[^`?]*)\S*` \|/gm), ([, method = '', path = '']) => ({ method, path }));
  expect(requests.length).toBeGreaterThan(15);
  const token = service.keystone.token();
  const made = await service.call(token, 'POST', '/v1/clustertemplates', { json: { name: 'k8s', coe: 'kubernetes', image_id: 'x' } });
  expect(made.status).toBe(201);
  for (const { method, path } of requests) {
    const { status: cluster, body: { uuid } } = await service.call(token, 'POST', '/v1/clusters', { json: { cluster_template_id: 'k8s' } });
    expect(cluster).toBe(202);
    const real = path.replace('<template>', 'k8s').replace('<cluster>', String(uuid)).replace('<node>', '0b5e7a52-6c1f-4f0e-9a53-0f2f6a0a9d11').replace('<sha256>', '0'.repeat(64));
    const { status, detail } = await service.call(token, method, real, { version: '1.11', ...(method === 'POST' || method === 'PATCH' ? { json: {} } : {}) });
    // A wrong body, or a program that is not there: but a path and a method that are.
    expect(`${method} ${path}: ${status} ${detail}`).not.toMatch(/: (404 The resource could not be found|405|5\d\d)/);
  }
});
