import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ConfigError, formatPath, nearest, show } from './problem.ts';

test.each([
  [[], ''],
  [['workers'], 'workers'],
  [['listeners', 0, 'tls', 'cert'], 'listeners[0].tls.cert'],
  [['upstreams', 'docker.io', 'policy'], 'upstreams.docker.io.policy'],
])('the path %j is written %s', (path, text) => {
  expect(formatPath(path)).toBe(text);
});

test('a ConfigError lists every problem, in the order of the file', () => {
  const at = (line: number | undefined, key: string) => ({ file: line === undefined ? undefined : 'umbra.yaml', line, column: undefined, key, message: 'wrong' });
  expect(new ConfigError([at(9, 'workers'), at(undefined, 'storage'), at(2, 'limits')]).message).toBe(
    'storage: wrong\numbra.yaml:2: limits: wrong\numbra.yaml:9: workers: wrong',
  );
});

describe('nearest', () => {
  const keys = ['listeners', 'trustedProxies', 'storage', 'upstreams', 'tagStaleness', 'ca', 'url', 'ttl'];
  test.each([
    ['listners', 'listeners'],
    ['Listeners', 'listeners'],
    ['trustedproxies', 'trustedProxies'],
    ['storgae', 'storage'],
    ['upstream', 'upstreams'],
    ['ulr', 'url'],
    ['tt', 'ttl'],
    ['verbose', undefined],
    ['x', undefined],
  ])('%s is meant as %s', (word, meant) => {
    expect(nearest(word, keys)).toBe(meant);
  });

  test('a word with one letter changed, left out or doubled is still found among the others', () => {
    const slip = fc.record({ word: fc.constantFrom('listeners', 'trustedProxies', 'upstreams'), at: fc.nat(8), how: fc.constantFrom('z', '', 'ee') });
    fc.assert(fc.property(slip, ({ word, at, how }) => nearest(word.slice(0, at) + how + word.slice(at + 1), keys) === word));
  });
});

test.each<[unknown, string]>([
  [null, 'nothing'],
  [undefined, 'nothing'],
  [12, '12'],
  ['prox', '"prox"'],
  [[], 'a list'],
  [{}, 'a map'],
  ['ftp://user:hunter2@host', '"ftp://***@host"'],
  ['ftp://user:hun/t@r2@host', '"ftp://***@host"'],
])('%j is shown as %s', (value, text) => {
  expect(show(value)).toBe(text);
});
