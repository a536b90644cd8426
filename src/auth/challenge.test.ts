import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { bearerChallenge } from './challenge.ts';

const baseUrl = 'https://registry.example.org';

describe('bearerChallenge', () => {
  test.each([
    [{ baseUrl }, 'Bearer realm="https://registry.example.org/auth/token",service="umbra"'],
    [{ baseUrl: 'http://[::1]:5000/' }, 'Bearer realm="http://[::1]:5000/auth/token",service="umbra"'],
    [
      { baseUrl, scope: 'repository:org/app:pull,push', error: 'insufficient_scope' as const },
      'Bearer realm="https://registry.example.org/auth/token",service="umbra",scope="repository:org/app:pull,push",error="insufficient_scope"',
    ],
    [{ baseUrl, scope: 'a"b\\c' }, 'Bearer realm="https://registry.example.org/auth/token",service="umbra",scope="a\\"b\\\\c"'],
    [{ baseUrl: 'https://evil\r\nSet-Cookie: a=b' }, 'Bearer realm="https://evilSet-Cookie: a=b/auth/token",service="umbra"'],
  ])('%j', (challenge, expected) => {
    expect(bearerChallenge(challenge)).toBe(expected);
  });

  test('nothing that a client sends can end the string or the header', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }), (host, scope) => {
      const text = bearerChallenge({ baseUrl: `http://${host}`, scope });
      expect(text).toMatch(/^[\u0020-\u007e]*$/);
      const strings = text.match(/"(?:[^"\\]|\\.)*"/g);
      expect(strings).toHaveLength(3);
      expect(text.replace(/"(?:[^"\\]|\\.)*"/g, '')).toBe('Bearer realm=,service=,scope=');
    }));
  });
});
