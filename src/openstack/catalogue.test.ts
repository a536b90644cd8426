import { describe, expect, test } from 'vitest';
import { accountUrl, endpointOf, type Service } from './catalogue.ts';

const at = (side: string, region: string, url: string): Service['endpoints'][number] => ({ interface: side, region, url });
const CATALOGUE: readonly Service[] = [
  { type: 'identity', endpoints: [at('public', 'one', 'https://keystone')] },
  {
    type: 'object-store',
    endpoints: [
      at('public', 'one', 'https://swift.one/v1/AUTH_a/'), at('internal', 'one', 'http://10.0.0.1/v1/AUTH_a'), at('public', 'two', 'https://swift.two/v1/AUTH_a'),
      at('admin', 'one', 'swift.one/v1'), at('strange', 'one', 'ftp://x'), at('double', 'one', 'https://a'), at('double', 'one', 'https://b'),
    ],
  },
];

describe('the endpoint of a service', () => {
  test.each([
    ['one', 'public', 'https://swift.one/v1/AUTH_a'],
    ['two', 'public', 'https://swift.two/v1/AUTH_a'],
    [undefined, 'internal', 'http://10.0.0.1/v1/AUTH_a'],
  ])('in region %s, %s: %s', (region, side, url) => {
    expect(endpointOf(CATALOGUE, { type: 'object-store', region, interface: side })).toEqual({ url });
  });

  test('given twice alike is given once', () => {
    const twice = [...CATALOGUE, ...CATALOGUE];
    expect(endpointOf(twice, { type: 'object-store', region: 'two', interface: 'public' })).toEqual({ url: 'https://swift.two/v1/AUTH_a' });
  });
});

const HAVE = 'regions: one, two; interfaces: public, internal, admin, strange, double';

describe('what there is instead is told', () => {
  test.each([
    ['object-store', 'three', 'public', `the catalogue does not have the public endpoint of object-store in region "three"; it has ${HAVE}`],
    ['object-store', 'two', 'internal', `the catalogue does not have the internal endpoint of object-store in region "two"; it has ${HAVE}`],
    ['object-store', undefined, 'private', `the catalogue does not have the private endpoint of object-store; it has ${HAVE}`],
    ['object-store', undefined, 'public', 'the catalogue has the public endpoint of object-store in several regions; expected region to be set, to one of one, two'],
    ['object-store', 'one', 'admin', 'the catalogue gives "swift.one/v1" as the admin endpoint of object-store in region "one", which is not an http(s) URL'],
    ['object-store', 'one', 'strange', 'the catalogue gives "ftp://x" as the strange endpoint of object-store in region "one", which is not an http(s) URL'],
    ['object-store', 'one', 'double', 'the catalogue has the double endpoint of object-store in region "one" several times: https://a, https://b'],
    ['volume', undefined, 'public', 'the catalogue has no service of type volume; it has identity, object-store'],
  ])('%s in region %s, %s: %s', (type, region, side, problem) => {
    expect(endpointOf(CATALOGUE, { type, region, interface: side })).toEqual({ problem });
  });

  test('a token without a catalogue', () => {
    expect(endpointOf([], { type: 'object-store', region: undefined, interface: 'public' })).toEqual({
      problem: 'the catalogue has no service of type object-store; it has no service at all: is the project right?',
    });
  });
});

test.each([
  ['https://swift.example.org:8080/v1/AUTH_ours', 'https://swift.example.org:8080/v1/AUTH_theirs'],
  ['https://rgw.example.org/swift/v1/AUTH_ours', 'https://rgw.example.org/swift/v1/AUTH_theirs'],
  ['https://rgw.example.org/swift/v1', 'https://rgw.example.org/swift/v1/AUTH_theirs'],
])('another account beside %s', (url, other) => {
  expect(accountUrl(url, 'AUTH_theirs')).toBe(other);
});
