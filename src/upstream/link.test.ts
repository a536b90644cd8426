import { expect, it } from 'vitest';
import { nextLink } from './link.ts';

it.each<[string, string | undefined, string | undefined]>([
  ['no header', undefined, undefined],
  ['one link', '</v2/a/tags/list?n=2&last=b>; rel="next"', '/v2/a/tags/list?n=2&last=b'],
  ['without quotes', '<x>; rel=next', 'x'],
  ['in any case, among others', '<x>; Rel="prev NEXT"', 'x'],
  ['other parameters, with ; and , in quotes', '<x>; title="a;b,c"; rel="next"; hreflang=en', 'x'],
  ['the second of two', '<x>; rel="prev", <y>; rel="next"', 'y'],
  ['a comma in the target', '<x,y>; rel=next', 'x,y'],
  ['only the first rel counts', '<x>; rel=prev; rel=next', undefined],
  ['a longer relation', '<x>; rel="nextish"', undefined],
  ['no relation', '<x>', undefined],
  ['nonsense', 'next', undefined],
])('%s', (_, header, expected) => {
  expect(nextLink(header)).toBe(expected);
});
