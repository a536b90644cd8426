import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseCredentials } from './credentials.ts';

const basic = (text: string, encoding: BufferEncoding = 'utf8'): string => `Basic ${Buffer.from(text, encoding).toString('base64')}`;
const parsed = (header: string | undefined): unknown => {
  const credentials = parseCredentials(header);
  return credentials.kind === 'password' ? [credentials.user, credentials.password.reveal()] : credentials.kind;
};

describe('parseCredentials', () => {
  test.each([
    ['no header', undefined, 'none'],
    ['an empty header', '', 'none'],
    ['empty user and password (skopeo)', 'Basic Og==', 'none'],
    ['user and password', basic('ci:secret'), ['ci', 'secret']],
    ['the scheme in any case', basic('ci:secret').replace('Basic', 'bASIC'), ['ci', 'secret']],
    ['a password with colons', basic('ci:a:b::'), ['ci', 'a:b::']],
    ['UTF-8', basic('jürgen:pässwörd ✓'), ['jürgen', 'pässwörd ✓']],
    ['ISO-8859-1, from old clients', basic('jürgen:pässwörd', 'latin1'), ['jürgen', 'pässwörd']],
    ['an empty password', basic('ci:'), ['ci', '']],
    ['an empty user', basic(':secret'), ['', 'secret']],
    ['base64 without padding', basic('ci:secret').replace(/=+$/, ''), ['ci', 'secret']],
    ['no colon', basic('cisecret'), 'malformed'],
    ['a control character', basic('ci:sec\nret'), 'malformed'],
    ['not base64', 'Basic §§§', 'malformed'],
    ['a scheme alone', 'Basic', 'malformed'],
    ['an unknown scheme', 'Negotiate abc', 'malformed'],
    ['a Bearer scheme alone', 'Bearer', 'malformed'],
    ['a Bearer token with spaces', 'Bearer a b', 'malformed'],
    ['two credentials at once', `${basic('ci:secret')}, Bearer abc`, 'malformed'],
    ['a token', 'Bearer a.b.c', 'bearer'],
    ['a token, scheme in lower case', 'bearer a.b.c', 'bearer'],
  ])('%s', (_, header, expected) => {
    expect(parsed(header)).toEqual(expected);
  });

  test('reads back whatever RFC 7617 can carry', () => {
    const text = fc.string({ unit: 'grapheme' }).filter((value) => !/\p{Cc}/u.test(value) && value.isWellFormed());
    fc.assert(fc.property(text.filter((user) => !user.includes(':')), text, (user, password) => {
      expect(parsed(basic(`${user}:${password}`))).toEqual(user === '' && password === '' ? 'none' : [user, password]);
    }));
  });

  test('never throws, and never repeats what was sent', () => {
    fc.assert(fc.property(fc.oneof(fc.string(), fc.string({ unit: 'binary' }), fc.string().map((rest) => `Basic ${rest}`), fc.string().map((text) => basic(text))), (header) => {
      const credentials = parseCredentials(header);
      if (credentials.kind !== 'malformed') return;
      const sent = [header.replace(/^basic +/i, ''), Buffer.from(header.slice(6), 'base64').toString()].filter((part) => part.length > 5);
      for (const part of sent) expect(credentials.problem).not.toContain(part);
    }));
  });

  test('is linear in the length of the header', () => {
    const many = 100_000; // with a quadratic expression, this takes longer than a test may
    for (const scheme of ['Basic', 'Bearer']) {
      for (const run of [' ', '=', 'a', 'a ', 'a=']) expect(parsed(`${scheme} ${run.repeat(many)}§`)).toBe('malformed');
    }
  });

  test('keeps the password from being printed', () => {
    expect(JSON.stringify(parseCredentials(basic('ci:hunter2')))).not.toContain('hunter2');
  });
});
