/** One object has one stat, whichever way Swift tells of it. */
import { expect, test } from 'vitest';
import { contentType, listedStat, statOf } from './stat.ts';

const headers = (values: Readonly<Record<string, string>>) => (name: string): string | undefined => values[name];

test.each([
  ['2026-11-25T20:53:55.648940', 'Wed, 25 Nov 2026 20:53:56 GMT'],
  ['2026-11-25T20:53:55.000000', 'Wed, 25 Nov 2026 20:53:55 GMT'],
  ['2026-12-31T23:59:59.999990', 'Fri, 01 Jan 2027 00:00:00 GMT'],
])('a listing that says %s is as HEAD that says %s', (listed, modified) => {
  const etag = '74b87337454200d4d33f80c4663dc5e5';
  for (const type of ['application/octet-stream', contentType('n0nce')]) {
    const head = statOf(headers({ 'content-length': '4', 'content-type': type, 'last-modified': modified, etag }));
    expect(listedStat({ name: 'x', bytes: 4, hash: etag, content_type: type, last_modified: listed })).toEqual(head);
  }
});

test('of an SLO that others wrote the listing\'s slo_etag counts', () => {
  const head = statOf(headers({ 'content-length': '9', 'content-type': 'x/y', 'last-modified': 'Wed, 25 Nov 2026 20:53:57 GMT', etag: '"8ab8a1b64609fe500323f907a9bd677d"' }));
  expect(listedStat({
    name: 'x', bytes: 9, hash: '31433bbe49bf5b1a2c1d9e6a616f5d5f', content_type: 'x/y', last_modified: '2026-11-25T20:53:56.074520',
    slo_etag: '"8ab8a1b64609fe500323f907a9bd677d"',
  })).toEqual(head);
});
