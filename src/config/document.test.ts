import { describe, expect, test } from 'vitest';
import { readDocument } from './document.ts';

/** Plain objects instead of ones without a prototype, to compare with. */
function valueOf(text: string, env: Record<string, string> = {}): unknown {
  const { value, faults } = readDocument(text, env);
  expect(faults).toEqual([]);
  return JSON.parse(JSON.stringify(value));
}

describe('values', () => {
  test.each<[string, unknown]>([
    ['', {}],
    ['# only a comment\n', {}],
    ['---\n...\n', {}],
    ['a: 1\nb: [x, true, null, 1.5]\nc: { d: "e" }', { a: 1, b: ['x', true, null, 1.5], c: { d: 'e' } }],
    ['a: yes\nb: 0123', { a: 'yes', b: 123 }],
    ['localhost:5000: {}\n5000: x', { 'localhost:5000': {}, 5000: 'x' }],
    ['a: |\n  two\n  lines\n', { a: 'two\nlines\n' }],
    ['a: &anchor { b: 1 }\nc: *anchor', { a: { b: 1 }, c: { b: 1 } }],
    ['just text', 'just text'],
    ['[a]', ['a']],
  ])('%j', (text, expected) => {
    expect(valueOf(text)).toEqual(expected);
  });

  test('what a variable holds cannot change the structure', () => {
    expect(valueOf('a: ${NASTY}\nb: "${NASTY}"', { NASTY: '"\nc: [d' })).toEqual({ a: '"\nc: [d', b: '"\nc: [d' });
  });

  test('variables need no quotes inside flow maps and lists', () => {
    expect(valueOf('a: { b: ${V}, c: ${W:-d e} }\nf: [${V}, x${V}y]', { V: 'v' })).toEqual({ a: { b: 'v', c: 'd e' }, f: ['v', 'xvy'] });
  });

  test('a number from the environment stays text: which it should be, the schema knows', () => {
    expect(valueOf('a: ${N}', { N: '12' })).toEqual({ a: '12' });
  });
});

test('every value knows its line and the variables it came from, and text how it was written', () => {
  const text = ['a: 1', 'list:', '  - x', '  - key:', '      deep', 'flow: { b: "${V}", c: ${W:-d} }', 'anchored: &x {y: 1}', 'alias: *x'].join('\n');
  expect(Object.fromEntries(readDocument(text, { V: 'v' }).places)).toEqual({
    '': { line: 1, variables: [] },
    a: { line: 1, variables: [] },
    list: { line: 2, variables: [] },
    'list[0]': { line: 3, variables: [], written: 'x' },
    'list[1]': { line: 4, variables: [] },
    'list[1].key': { line: 4, variables: [], written: 'deep' },
    flow: { line: 6, variables: [] },
    'flow.b': { line: 6, variables: ['V'], written: '${V}' },
    'flow.c': { line: 6, variables: [], written: '${W:-d}' },
    anchored: { line: 7, variables: [] },
    'anchored.y': { line: 7, variables: [] },
    alias: { line: 8, variables: [] },
    'alias.y': { line: 7, variables: [] },
  });
});

describe('faults', () => {
  test.each<[string, string, object[]]>([
    ['a bad indent', 'a:\n  b: 1\n c: 2\n', [{ path: [], line: 3, column: 1, message: 'all mapping items must start at the same column' }]],
    ['a map in a map', 'a: 1\n b: 2\n', [expect.objectContaining({ line: 1, column: 4, message: expect.stringContaining('nested mappings') })]],
    ['a tab', 'a:\n\tb: 2', [expect.objectContaining({ line: 2, message: expect.stringContaining('tabs') })]],
    ['errors on two lines', 'a: "x" y\nb: "x" y\n', [1, 2].map((line) => expect.objectContaining({ line, column: 8 }))],
    ['a reference that ends nowhere', 'a: ${NAME', [{ path: ['a'], line: 1, message: expect.stringContaining('got "${NAME"') }]],
    ['an open quote', 'a: "x', [{ path: [], line: 1, column: 6, message: expect.stringContaining('quote') }]],
    ['an open list', 'a: [1, 2\nb: 3\n', [expect.objectContaining({ line: 2, message: expect.stringContaining('end with a ]') })]],
    ['two documents', 'a: 1\n---\nb: 2\n', [{ path: [], line: 2, column: 1, message: 'expected one document, found a second' }]],
    ['an unknown tag', 'a: !secret x', [{ path: [], line: 1, column: 4, message: 'unresolved tag: !secret' }]],
    ['an unknown alias', 'a: *nothing', [{ path: ['a'], line: 1, message: 'expected an anchor &nothing before this alias' }]],
    ['a key given twice', 'a: 1\nb: 2\na: 3\n', [{ path: ['a'], line: 3, message: 'the key was given before, on line 1' }]],
    ['a nested key given twice', 'x:\n  a: 1\n  a: 2\n', [{ path: ['x', 'a'], line: 3, message: 'the key was given before, on line 2' }]],
    ['a list as a key', 'x:\n  [::1]: 1\n', [{ path: ['x'], line: 2, message: 'expected a key of plain text (one that begins with [ or { needs quotes)' }]],
    ['a key of objects', 'x:\n  __proto__: 1\n', [{ path: ['x'], line: 2, message: '__proto__ cannot be a key' }]],
    ['unset variables, all of them', 'a: ${A}\nb: [x, "${B}"]', [{ path: ['a'], line: 1 }, { path: ['b', 1], line: 2 }].map((fault) => expect.objectContaining(fault))],
  ])('%s', (_, text, faults) => {
    expect(readDocument(text, {}).faults).toEqual(faults);
  });

  test('an alias inside its own anchor ends, with one message', () => {
    const { faults } = readDocument('a: &a [*a]', {});
    expect(faults.map(({ message }) => message)).toEqual([expect.stringContaining('at most 32 levels')]);
  });

  test('aliases that multiply end, with one message', () => {
    const bomb = ['a: &a [x,x,x,x,x,x,x,x,x]', ...'bcdefghi'.split('').map((c, i) => `${c}: &${c} [${Array(9).fill(`*${'abcdefgh'[i]}`).join(',')}]`)].join('\n');
    expect(readDocument(bomb, {}).faults).toHaveLength(1);
  });
});
