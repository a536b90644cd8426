import { describe, expect, test } from 'vitest';
import { parseTunnelRule } from './tunnel-rule.ts';

describe('a rule of names', () => {
  test.each([
    ['auth.example.org', 'auth.example.org', 443],
    ['auth.example.org:8443', 'auth.example.org', 8443],
    ['*.example.org', '*.example.org', 443],
    ['*', '*', 443],
    ['*:5000', '*', 5000],
    ['localhost', 'localhost', 443],
  ])('%s', (word, host, port) => expect(parseTunnelRule(word)).toEqual({ host, port, addresses: undefined }));
});

describe('a rule of addresses', () => {
  test.each([
    ['192.0.2.1', 443, '192.0.2.1', '192.0.2.2'],
    ['192.0.2.1:80', 80, '192.0.2.1', '192.0.2.2'],
    ['10.0.0.0/8', 443, '10.255.0.1', '11.0.0.1'],
    ['10.0.0.0/8:5000', 5000, '10.255.0.1', '11.0.0.1'],
    ['::1', 443, '::1', '::2'],
    ['[::1]:8443', 8443, '::1', '::2'],
    ['fd00::/8', 443, 'fd12::1', 'fe80::1'],
    ['[fd00::]/8:8443', 8443, 'fd12::1', 'fe80::1'],
  ])('%s', (word, port, inside, outside) => {
    const rule = parseTunnelRule(word);
    const family = inside.includes(':') ? 'ipv6' : 'ipv4';
    expect([rule?.host, rule?.port, rule?.addresses?.check(inside, family), rule?.addresses?.check(outside, family)]).toEqual([undefined, port, true, false]);
  });
});

test.each(['', ':443', 'a b', 'Example.org', 'https://example.org', 'example.org/x', '*.', 'a.*.org', '**', '1.2.3', '256.0.0.1', '10.0.0.0/33', '::1/129', 'example.org:0', 'example.org:65536', '[::1', '::1:8443:x', '*/8'])(
  '%j is none',
  (word) => expect(parseTunnelRule(word)).toBeUndefined(),
);
