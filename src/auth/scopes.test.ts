import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { RegistryError } from '../oci/errors.ts';
import { makeName, parseViewId } from '../oci/name.ts';
import { tokenActionList } from './action.ts';
import { parseScopes, repositoryScope, type ToName } from './scopes.ts';

/** Enough of the grammar of entrances for these tests: a view prefix, a host, the default host. */
const toName: ToName = (spelling) => {
  const [, view, rest = ''] = /^(?:([^/]+)\.view\/)?(.*)$/.exec(spelling) ?? [];
  const [first = '', ...path] = rest.split('/');
  const name = path.length > 0 && /[.:]/.test(first) ? makeName(first, path.join('/')) : makeName('docker.io', rest);
  return { name, view: view === undefined ? undefined : parseViewId(view) };
};
const parse = (...texts: string[]): string[] =>
  parseScopes(texts, toName).map(({ kind, spelling, name, view, actions }) => [kind, spelling, name, view ?? '-', tokenActionList(actions).join(',')].join(' '));

describe('parseScopes', () => {
  test.each([
    ['one', ['repository:org/app:pull'], ['repository org/app docker.io/org/app - pull']],
    ['push and pull, in that order', ['repository:org/app:push,pull'], ['repository org/app docker.io/org/app - pull,push']],
    ['everything (skopeo delete)', ['repository:org/app:*'], ['repository org/app docker.io/org/app - pull,push,delete']],
    ['a host with a port', ['repository:localhost:5000/x:pull'], ['repository localhost:5000/x localhost:5000/x - pull']],
    ['a view', ['repository:staging.view/quay.io/x:pull'], ['repository staging.view/quay.io/x quay.io/x staging pull']],
    ['repeated parameters', ['repository:a:pull', 'repository:b:pull'], ['repository a docker.io/a - pull', 'repository b docker.io/b - pull']],
    ['separated by spaces', ['repository:a:pull  repository:b:pull '], ['repository a docker.io/a - pull', 'repository b docker.io/b - pull']],
    ['the same name twice', ['repository:a:pull', 'repository:a:push'], ['repository a docker.io/a - pull,push']],
    ['a plugin', ['repository(plugin):org/app:pull'], ['repository org/app docker.io/org/app - pull']],
    ['the catalogue', ['registry:catalog:*'], ['catalog catalog docker.io/catalog - pull']],
    ["a view's catalogue", ['registry:staging.view/catalog:*'], ['catalog staging.view/catalog docker.io/catalog staging pull']],
    ['an unknown type', ['aws:thing:read', 'registry:metrics:*'], []],
    ['unknown actions', ['repository:a:pull,fly'], ['repository a docker.io/a - pull']],
    ['no actions', ['repository:a:'], ['repository a docker.io/a - ']],
    ['nothing', ['', ' '], []],
  ])('%s', (_, texts, expected) => {
    expect(parse(...texts)).toEqual(expected);
  });

  test.each([
    ['no colon', 'pull'],
    ['one colon', 'repository:a'],
    ['no name', 'repository::pull'],
    ['no repository name', 'repository:UPPER:pull'],
    ['a path that climbs', 'repository:../../etc/passwd:pull'],
    ['no action list', 'repository:a:pull;push'],
  ])('refuses %s and names it', (_, text) => {
    expect(() => parse(text)).toThrow(expect.objectContaining({ code: 'PARAMETER_INVALID', message: expect.stringContaining(text) as string }));
  });

  test('bounds how many', () => {
    expect(() => parse(Array.from({ length: 65 }, (_, i) => `repository:r${i}:pull`).join(' '))).toThrow('at most 64');
  });

  test('whatever is sent, the outcome is scopes or a 400', () => {
    const word = fc.oneof(fc.string(), fc.string({ unit: fc.constantFrom(...'repository:(plugin)/a.view*,pull ') }));
    fc.assert(fc.property(fc.array(word), (words) => {
      try {
        parseScopes(words, toName);
      } catch (error) {
        expect(error).toBeInstanceOf(RegistryError);
        expect(error).toHaveProperty('status', 400);
      }
    }));
  });
});

describe('repositoryScope', () => {
  test.each([
    ['pull', 'org/app', undefined, 'repository:org/app:pull'],
    ['push', 'org/app', undefined, 'repository:org/app:pull,push'],
    ['delete', 'org/app', undefined, 'repository:org/app:delete'],
    ['pull', 'org/app', 'quay.io', 'repository:quay.io/org/app:pull'],
    ['pull', 'staging.view/org/app', 'quay.io', 'repository:staging.view/quay.io/org/app:pull'],
  ] as const)('%s %s ns=%s', (action, spelling, ns, expected) => {
    expect(repositoryScope(action, spelling, ns)).toBe(expected);
  });

  test('what we ask for is what we understand', () => {
    const [scope] = parseScopes([repositoryScope('push', 'staging.view/org/app', 'quay.io')], toName);
    expect(scope).toMatchObject({ name: 'quay.io/org/app', view: 'staging' });
  });
});
