import { describe, expect, test } from 'vitest';
import { absoluteTarget, parseAuthority, spellAuthority } from './authority.ts';

describe('host:port', () => {
  test.each([
    ['quay.io:443', { host: 'quay.io', port: 443 }],
    ['Quay.IO:443', { host: 'quay.io', port: 443 }],
    ['[2001:DB8::1]:8443', { host: '2001:db8::1', port: 8443 }],
    ['127.0.0.1:1', { host: '127.0.0.1', port: 1 }],
  ])('%s', (text, expected) => expect(parseAuthority(text)).toEqual(expected));

  test.each(['', 'quay.io', ':443', 'quay.io:', 'quay.io:0', 'quay.io:65536', 'quay.io:443:443', 'me@quay.io:443', 'quay.io:443/', 'a b:443', '::1:443', '[::1:443', 'quay.io:443\r\nx', `${'a'.repeat(256)}:443`])(
    '%j is none',
    (text) => expect(parseAuthority(text)).toBeUndefined(),
  );

  test('is spelled as URLs have it', () => {
    expect(spellAuthority({ host: 'quay.io', port: 443 }, 'https')).toBe('quay.io');
    expect(spellAuthority({ host: 'quay.io', port: 443 }, 'http')).toBe('quay.io:443');
    expect(spellAuthority({ host: '::1', port: 80 }, 'http')).toBe('[::1]');
    expect(spellAuthority({ host: '::1', port: 80 })).toBe('[::1]:80');
  });
});

test.each([
  ['http://quay.io/v2/', { scheme: 'http', authority: { host: 'quay.io', port: 80 } }],
  ['HTTPS://quay.io?x=/', { scheme: 'https', authority: { host: 'quay.io', port: 443 } }],
  ['http://[::1]:5000', { scheme: 'http', authority: { host: '::1', port: 5000 } }],
  ['http://me:pw@quay.io/', { scheme: 'http', authority: undefined }],
  ['http:///v2/', { scheme: 'http', authority: undefined }],
  ['/v2/http://quay.io/', undefined],
  ['quay.io:443', undefined],
])('the target %s', (target, expected) => expect(absoluteTarget(target)).toEqual(expected));
