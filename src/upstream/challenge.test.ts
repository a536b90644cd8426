import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseChallenges } from './challenge.ts';

const plain = (header: string | readonly string[] | undefined): unknown =>
  parseChallenges(header).map(({ scheme, token68, params }) => [scheme, token68 ?? Object.fromEntries(params)]);

describe('WWW-Authenticate', () => {
  it.each<[string, string | readonly string[] | undefined, unknown]>([
    ['no header', undefined, []],
    ['docker.io', 'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/nginx:pull"',
      [['bearer', { realm: 'https://auth.docker.io/token', service: 'registry.docker.io', scope: 'repository:library/nginx:pull' }]]],
    ['a scheme alone', 'Negotiate', [['negotiate', {}]]],
    ['token68', 'Negotiate dG9rZW4=', [['negotiate', 'dG9rZW4=']]],
    ['several in one header', 'Basic realm="a", Bearer realm="b", service=c', [['basic', { realm: 'a' }], ['bearer', { realm: 'b', service: 'c' }]]],
    ['several headers', ['Basic realm="a"', 'Bearer realm="b"'], [['basic', { realm: 'a' }], ['bearer', { realm: 'b' }]]],
    ['token68 before another scheme', 'Negotiate abc==, Basic realm="a"', [['negotiate', 'abc=='], ['basic', { realm: 'a' }]]],
    ['a scheme alone before another', 'NTLM, Basic realm="a"', [['ntlm', {}], ['basic', { realm: 'a' }]]],
    ['escapes and commas in quotes', 'Basic realm="a \\"b\\", c\\\\"', [['basic', { realm: 'a "b", c\\' }]]],
    ['spaces around =, names in any case', 'bearer REALM = "a" , Service= b', [['bearer', { realm: 'a', service: 'b' }]]],
    ['empty list elements', ', ,Basic realm="a",, charset="UTF-8",', [['basic', { realm: 'a', charset: 'UTF-8' }]]],
    ['a repeated name: the first', 'Basic realm=a, realm=b', [['basic', { realm: 'a' }]]],
    ['a URL without quotes', 'Bearer realm=https://h/token?a=b,service=s', [['bearer', { realm: 'https://h/token?a=b', service: 's' }]]],
    ['a quote that never ends', 'Basic realm="a", Bearer realm="b', [['basic', { realm: 'a' }], ['bearer', {}]]],
  ])('%s', (_, header, expected) => {
    expect(plain(header)).toEqual(expected);
  });

  const token = fc.stringMatching(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}$/);
  const name = token.map((text) => text.toLowerCase());
  const challenge = fc.oneof(
    fc.tuple(name, fc.stringMatching(/^[A-Za-z0-9._~+/-]{1,12}={0,2}$/)),
    fc.tuple(name, fc.dictionary(name, fc.string({ unit: fc.constantFrom(...'ab ,="\\;:/\t') }), { maxKeys: 4, noNullPrototype: true })),
  );
  const write = ([scheme, rest]: readonly [string, string | Record<string, string>]): string =>
    typeof rest === 'string'
      ? `${scheme} ${rest}`
      : `${scheme} ${Object.entries(rest).map(([key, value]) => `${key}="${value.replace(/["\\]/g, '\\$&')}"`).join(', ')}`;

  it('reads back any list of challenges', () => {
    fc.assert(fc.property(fc.array(challenge, { maxLength: 5 }), (list) => {
      expect(plain(list.map(write).join(', '))).toEqual(list.map(([scheme, rest]) => [scheme, rest]));
    }));
  });

  it('takes any text without failing', () => {
    fc.assert(fc.property(fc.string({ unit: fc.constantFrom(...'Basic realm="\\,= \t\n\0é'), maxLength: 200 }), (text) => {
      expect(Array.isArray(parseChallenges(text))).toBe(true);
    }));
  });
});
