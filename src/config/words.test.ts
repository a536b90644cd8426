import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  addressProblem,
  bcryptProblem,
  domainProblem,
  namePatternProblem,
  networkProblem,
  originProblem,
  registryHostProblem,
  registryUrlProblem,
  userNameProblem,
  viewPatternProblem,
  viewProblem,
} from './words.ts';
import type { ProblemOf } from './words.ts';

const HASH = `$2y$10$${'a'.repeat(53)}`;

describe.each<[string, ProblemOf, string[], string[]]>([
  ['address', addressProblem, ['localhost:5000', '[::]:0'], ['', 'localhost', '5000']],
  [
    'origin',
    originProblem,
    ['https://registry.example.org', 'https://registry.example.org/', 'http://[::1]:5000'],
    ['registry.example.org', 'https://registry.example.org/path', 'https://u:p@host', 'https://host/?a=b', 'ftp://host', 'https://'],
  ],
  ['registry URL', registryUrlProblem, ['https://registry-1.docker.io', 'http://127.0.0.1:5000', 'https://mirror/path'], ['docker.io', 'https://u@host', 'https://host/#x', 'https://quay.io/v2/', '']],
  [
    'registry host',
    registryHostProblem,
    ['docker.io', 'quay.io', 'localhost', 'localhost:5000', 'registry:5000', '127.0.0.1:5000', '[::1]:5000'],
    ['dockerio', 'https://quay.io', 'quay.io/org', 'Quay.io', 'index.docker.io', 'registry-1.docker.io', 'staging.view', '', 'a..b'],
  ],
  ['domain', domainProblem, ['views.example.org', 'local'], ['.views.example.org', 'views.example.org:443', 'Views', '*.example.org', '']],
  ['view', viewProblem, ['main', 'change-1', 'a', 'x'.repeat(63)], ['', 'Main', '-a', 'a-', 'a.b', 'a/b', 'x'.repeat(64)]],
  [
    'network',
    networkProblem,
    ['127.0.0.1', '::1', '10.0.0.0/8', 'fd00::/8', '0.0.0.0/0'],
    ['', 'localhost', '10.0.0.0/33', 'fd00::/129', '10.0.0.0/', '10.0.0.0/x', '10.0.0.0/8/8', '10.0.0/8', '/8', '10.0.0.0/-1'],
  ],
  [
    'pattern of names',
    namePatternProblem,
    ['*', 'docker.io/org/*', 'docker.io/library/nginx', 'quay.io/app', '*/nginx', 'localhost:5000/*', 'docker.io/n*'],
    ['', 'org/*', 'nginx', 'docker.io', 'docker.io/nginx', 'index.docker.io/library/nginx', 'Docker.io/*', '/org/app', 'docker.io/a b'],
  ],
  ['pattern of views', viewPatternProblem, ['*', 'main', 'change-*'], ['', 'Main', 'a.b', 'main/x']],
  ['user name', userNameProblem, ['ci', 'a user', 'müller@example.org'], ['', 'a:b', 'anonymous', '*', 'a\nb']],
  ['bcrypt hash', bcryptProblem, [HASH, HASH.replace('2y', '2b')], ['', HASH.slice(0, -1), `${HASH}a`, HASH.replace('$10$', '$03$'), HASH.replace('2y', '1'), 'secret']],
])('%s', (_, problemOf, good, bad) => {
  test.each(good)('%j is good', (word) => {
    expect(problemOf(word)).toBeUndefined();
  });
  test.each(bad)('%j is told what was expected', (word) => {
    expect(problemOf(word)).toMatch(/^expected /);
  });
  test('any text gets an answer', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (word) => problemOf(word)?.startsWith('expected ') ?? true));
  });
});

test('every network of either family is one', () => {
  fc.assert(fc.property(fc.ipV4(), fc.nat(32), (address, prefix) => networkProblem(`${address}/${prefix}`) === undefined));
  fc.assert(fc.property(fc.ipV6(), fc.nat(128), (address, prefix) => networkProblem(`${address}/${prefix}`) === undefined));
});
