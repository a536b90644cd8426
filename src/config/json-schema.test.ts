import { readFileSync } from 'node:fs';
import type { JsonSchema } from '@valibot/to-json-schema';
import * as v from 'valibot';
import { describe, expect, test } from 'vitest';
import { readDocument } from './document.ts';
import { settingsJsonSchema } from './json-schema.ts';
import { SETTINGS } from './schema.ts';

interface Key {
  /** `upstreams.<host>.ttl`, `listeners[].address`. */
  readonly key: string;
  readonly schema: JsonSchema;
  readonly required: boolean;
}

/** What stands for the keys that the user chooses. */
const CHOSEN: Readonly<Record<string, string>> = { upstreams: '<host>', 'views.define': '<view>', 'auth.oidc[].rules[].claims': '<claim>' };

const keys = keysOf(settingsJsonSchema());

function keysOf(schema: JsonSchema, path = ''): readonly Key[] {
  const { properties = {}, required = [], items, additionalProperties } = schema;
  const own = Object.entries(properties).flatMap(([name, child]): Key[] => {
    if (typeof child === 'boolean') return [];
    const key = path === '' ? name : `${path}.${name}`;
    // The same keys as those of storage.
    const below = key === 'upstreamStorage' ? [] : keysOf(child, key);
    return [{ key, schema: child, required: required.includes(name) }, ...below];
  });
  const listed = typeof items === 'object' && !Array.isArray(items) ? keysOf(items, `${path}[]`) : [];
  const chosen = typeof additionalProperties === 'object' ? keysOf(additionalProperties, `${path}.${CHOSEN[path]}`) : [];
  return [...own, ...listed, ...chosen];
}

function find(key: string): JsonSchema {
  return keys.find((other) => other.key === key)?.schema ?? {};
}

test('every key has a description that is a sentence', () => {
  expect(keys.length).toBeGreaterThan(40);
  expect(keys.filter(({ schema: { description = '' } }) => !/^[A-Z`].*\.$/.test(description)).map(({ key }) => key)).toEqual([]);
});

test('no map takes an unknown key', () => {
  const maps = [settingsJsonSchema(), ...keys.map(({ schema }) => schema)].filter(({ properties }) => properties !== undefined);
  expect(maps.length).toBeGreaterThan(3);
  expect(maps.filter(({ additionalProperties }) => additionalProperties !== false)).toEqual([]);
});

describe('what editors accept', () => {
  test.each([
    ['upstreams.<host>.ttl', '60s'],
    ['upstreams.<host>.ttl', '${TTL:-60s}'],
    ['limits.memory', '512k'],
    ['limits.memory', '${MEMORY}'],
    ['workers', 'auto'],
    ['workers', '12'],
  ])('%s: %s', (key, text) => {
    expect(text).toMatch(new RegExp(find(key).pattern ?? '(?!)'));
  });

  test.each([
    ['upstreams.<host>.ttl', '5 minutes'],
    ['limits.memory', '4MB'],
    ['workers', 'many'],
  ])('but not %s: %s', (key, text) => {
    expect(text).not.toMatch(new RegExp(find(key).pattern ?? ''));
  });

  test.each(['upstreams.<host>.policy', 'listeners[].mirror', 'storage.driver'])('%s may come from the environment', (key) => {
    expect(find(key).anyOf).toContainEqual({ type: 'string', pattern: '\\$\\{' });
  });
});

const page = new URL('../../docs/configure.md', import.meta.url);

test('the examples of docs/configure.md are valid', () => {
  const examples = [...readFileSync(page, 'utf8').matchAll(/```yaml\n([^]*?)```/g)].map(([, text = '']) =>
    readDocument(text, { HUB_USER: 'me', OPS_HASH: `$2y$10$${'a'.repeat(53)}` }),
  );
  expect(examples).toHaveLength(2);
  for (const { value, faults } of examples) expect([...faults, ...(v.safeParse(SETTINGS, value).issues ?? [])]).toEqual([]);
});

test('docs/configure.md lists every key as the schema says (vitest --update=true writes it)', async () => {
  const rows = keys.map(({ key, required, schema: { description = '', default: fallback } }) => {
    const shown = fallback === undefined ? (required ? 'required' : '') : `\`${JSON.stringify(fallback).replace(/^"(.*)"$/, '$1')}\``;
    return `| \`${key}\` | ${shown} | ${description} |`;
  });
  const table = ['| key | default | |', '|---|---|---|', ...rows].join('\n');
  const text = readFileSync(page, 'utf8').replace(
    /(<!-- keys -->\n)[^]*(\n<!-- \/keys -->)/,
    (_, begin: string, end: string) => `${begin}${table}${end}`,
  );
  expect(text).toContain(table);
  await expect(text).toMatchFileSnapshot(page.pathname);
});
