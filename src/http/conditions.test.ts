import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { evaluateConditions, type Precondition } from './conditions.ts';

const ETAG = '"sha256:abc"';

describe('If-None-Match', () => {
  it.each<[header: string | undefined, etag: string | undefined, expected: Precondition]>([
    [undefined, ETAG, 'proceed'],
    [ETAG, ETAG, 'not-modified'],
    ['"other"', ETAG, 'proceed'],
    ['"other", "sha256:abc"', ETAG, 'not-modified'],
    ['"other","sha256:abc","more"', ETAG, 'not-modified'],
    [' , "sha256:abc" ,', ETAG, 'not-modified'],
    ['W/"sha256:abc"', ETAG, 'not-modified'], // compared weakly
    [ETAG, 'W/"sha256:abc"', 'not-modified'],
    ['*', ETAG, 'not-modified'],
    [' * ', ETAG, 'not-modified'],
    ['*', undefined, 'proceed'], // there is nothing
    [ETAG, undefined, 'proceed'],
    ['sha256:abc', ETAG, 'not-modified'], // as Docker's clients may send it
    ['"a,b", "sha256:abc"', ETAG, 'not-modified'], // a comma within a tag
    ['"a, "sha256:abc"', ETAG, 'proceed'], // malformed
    ['w/"sha256:abc"', ETAG, 'proceed'], // W is a capital
    ['"sha256:ab"', ETAG, 'proceed'],
    ['', ETAG, 'proceed'],
    ['""', '""', 'not-modified'],
  ])('%j against %j: %s', (header, etag, expected) => {
    expect(evaluateConditions('GET', { 'if-none-match': header }, etag)).toBe(expected);
    expect(evaluateConditions('HEAD', { 'if-none-match': header }, etag)).toBe(expected);
    expect(evaluateConditions('PUT', { 'if-none-match': header }, etag)).toBe(expected === 'not-modified' ? 'failed' : expected);
  });
});

describe('If-Match', () => {
  it.each<[header: string | undefined, etag: string | undefined, expected: Precondition]>([
    [undefined, undefined, 'proceed'],
    [ETAG, ETAG, 'proceed'],
    ['"other", "sha256:abc"', ETAG, 'proceed'],
    ['"other"', ETAG, 'failed'],
    ['W/"sha256:abc"', ETAG, 'failed'], // compared strongly
    ['W/"sha256:abc"', 'W/"sha256:abc"', 'failed'],
    ['*', ETAG, 'proceed'],
    ['*', undefined, 'failed'],
    [ETAG, undefined, 'failed'],
  ])('%j against %j: %s', (header, etag, expected) => {
    for (const method of ['GET', 'HEAD', 'PUT', 'DELETE']) expect(evaluateConditions(method, { 'if-match': header }, etag)).toBe(expected);
  });

  it('is looked at before If-None-Match', () => {
    expect(evaluateConditions('GET', { 'if-match': '"other"', 'if-none-match': ETAG }, ETAG)).toBe('failed');
    expect(evaluateConditions('GET', { 'if-match': ETAG, 'if-none-match': ETAG }, ETAG)).toBe('not-modified');
  });
});

const opaque = fc.stringMatching(/^[!#-~]{0,20}$/);
const tag = fc.tuple(fc.boolean(), opaque).map(([weak, text]) => ({ weak, text, written: `${weak ? 'W/' : ''}"${text}"` }));

it('a list matches exactly when one of its tags does, by either comparison', () => {
  fc.assert(
    fc.property(fc.array(tag, { minLength: 1, maxLength: 8 }), tag, fc.constantFrom(',', ', ', ' ,\t', ',,'), (list, etag, comma) => {
      const header = list.map(({ written }) => written).join(comma);
      const weakly = list.some(({ text }) => text === etag.text);
      const strongly = !etag.weak && list.some(({ weak, text }) => !weak && text === etag.text);
      expect(evaluateConditions('GET', { 'if-none-match': header }, etag.written)).toBe(weakly ? 'not-modified' : 'proceed');
      expect(evaluateConditions('GET', { 'if-match': header }, etag.written)).toBe(strongly ? 'proceed' : 'failed');
    }),
  );
});

it('takes time in proportion to the header, whatever it is', () => {
  // Quadratic matching would take minutes for these; the runner's deadline is seconds.
  for (const hostile of [
    ' '.repeat(1_000_000),
    ','.repeat(1_000_000),
    '"'.repeat(1_000_000),
    '"a" '.repeat(250_000),
    'a'.repeat(1_000_000),
  ]) {
    expect(evaluateConditions('GET', { 'if-none-match': hostile }, ETAG)).toBe('proceed');
  }
});
