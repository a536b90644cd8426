import fc from 'fast-check';
import { expect, test } from 'vitest';
import { substitute } from './substitution.ts';

const env = { NAME: 'value', EMPTY: '', _x1: 'under', NASTY: 'a"b\n: ${NAME} $1 $& }' };

test.each<[string, string, string[]]>([
  ['plain', 'plain', []],
  ['${NAME}', 'value', ['NAME']],
  ['a ${NAME} b ${_x1}', 'a value b under', ['NAME', '_x1']],
  ['${NAME:-other}', 'value', ['NAME']],
  ['${MISSING:-other}', 'other', []],
  ['${MISSING:-}', '', []],
  ['${EMPTY:-other}', 'other', []],
  ['${EMPTY}', '', ['EMPTY']],
  ['${NASTY}', env.NASTY, ['NASTY']],
  ['$NAME $1 $', '$NAME $1 $', []],
  ['$${NAME}', '${NAME}', []],
  ['$2y$10$abc', '$2y$10$abc', []],
])('%j becomes %j', (text, expected, variables) => {
  expect(substitute(text, env)).toEqual({ text: expected, variables, errors: [], written: text });
});

test.each([
  ['${MISSING}', 'the environment variable MISSING is not set, and ${MISSING} has no default (write ${MISSING:-…})'],
  ['${}', 'expected ${NAME} or ${NAME:-default}, got "${}" (a literal ${ is written $${)'],
  ['${1A}', 'expected ${NAME} or ${NAME:-default}, got "${1A}" (a literal ${ is written $${)'],
  ['${NAME', 'expected ${NAME} or ${NAME:-default}, got "${NAME" (a literal ${ is written $${)'],
  ['${NAME-x}', 'expected ${NAME} or ${NAME:-default}, got "${NAME-x}" (a literal ${ is written $${)'],
])('%j is an error', (text, error) => {
  expect(substitute(text, env).errors).toEqual([error]);
});

test('every error of a text is told', () => {
  expect(substitute('${A} ${B} ${', {}).errors).toHaveLength(3);
});

test('whatever a variable holds comes out as it is, and is not looked at again', () => {
  fc.assert(fc.property(fc.string(), (value) => substitute('<${V}>', { V: value }).text === `<${value}>`));
});

test('text without ${ is never changed', () => {
  fc.assert(fc.property(fc.string().filter((text) => !text.includes('${')), (text) => substitute(text, env).text === text));
});
