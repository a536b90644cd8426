import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Undo } from '../change.ts';
import { jsonKeys, withoutJsonKeys } from './json-keys.ts';
import { readJson } from './json-text.ts';

const mirrors = jsonKeys({ path: '/d', lists: [{ key: 'registry-mirrors', values: ['http://u'] }] });
const login = jsonKeys({ path: '/c', sets: [{ path: ['auths', 'u:1'], value: { auth: 'x' } }] });

/** Objects in the layouts that people and programs write. */
const texts = fc
  .record({ value: fc.dictionary(fc.oneof(fc.constantFrom('a', 'b', 'auths'), fc.string()), fc.oneof(fc.jsonValue({ maxDepth: 2 }), fc.array(fc.string()))), indent: fc.constantFrom(undefined, 1, 2, 4, '\t'), space: fc.constantFrom('', '\n', ' \n\n') })
  .filter(({ value }) => value['auths'] === undefined || (typeof value['auths'] === 'object' && value['auths'] !== null && !Array.isArray(value['auths'])))
  // JSON has no -0.
  .map(({ value, ...layout }) => ({ value: JSON.parse(JSON.stringify(value)) as typeof value, ...layout }))
  .map(({ value, indent, space }) => ({ value, text: space + JSON.stringify(value, undefined, indent) + space }));

describe('words of ours in somebody’s JSON', () => {
  test.each([
    ['compact', '{"a":1}', '{"a":1, "registry-mirrors": ["http://u"]}'],
    ['on lines', '{\n    "a": 1\n}\n', '{\n    "a": 1,\n    "registry-mirrors": [\n        "http://u"\n    ]\n}\n'],
    ['in tabs', '{\n\t"a": 1\n}', '{\n\t"a": 1,\n\t"registry-mirrors": [\n\t\t"http://u"\n\t]\n}'],
    ['none', '', '{\n  "registry-mirrors": [\n    "http://u"\n  ]\n}\n'],
    ['an empty object', '{}\n', '{\n  "registry-mirrors": [\n    "http://u"\n  ]\n}\n'],
    ['a list before which ours comes', '{"registry-mirrors": ["http://v"]}', '{"registry-mirrors": ["http://u", "http://v"]}'],
    ['a list on lines', '{ "registry-mirrors": [\n  "http://v"\n] }', '{ "registry-mirrors": [\n  "http://u",\n  "http://v"\n] }'],
    ['an empty list', '{"registry-mirrors": [ ]}', '{"registry-mirrors": ["http://u"]}'],
    ['what has it', '{"registry-mirrors": ["http://v", "http://u"]}', '{"registry-mirrors": ["http://v", "http://u"]}'],
    ['numbers that no double holds', '{"n": 12345678901234567890.10}', '{"n": 12345678901234567890.10, "registry-mirrors": ["http://u"]}'],
  ])('%s', (_, before, after) => expect(mirrors.merge(before).text).toBe(after));

  test.each([
    ['{"registry-mirrors": "x"}', /no list of strings/],
    ['{"registry-mirrors": [1]}', /no list of strings/],
    ['{"registry-mirrors": null}', /remove it first/],
    ['[]', /no JSON object/],
    ['{"a": 1,}', /cannot be read as JSON/],
    ['// x\n{}', /cannot be read as JSON/],
    ['{"a": 1, "a": 2}', /"a" is there twice/],
  ])('are not put into %s', (before, message) => expect(() => mirrors.merge(before)).toThrow(message));

  test.each([
    ['{"auths": {"u:1": {"auth": "y"}}}', /"auths.u:1" is set already/],
    ['{"auths": []}', /"auths" is no object/],
  ])('do not replace %s', (before, message) => expect(() => login.merge(before)).toThrow(message));

  test('say what the file said and ours, and taken out again leave what it said', () => {
    fc.assert(
      fc.property(texts, fc.constantFrom(mirrors, login), ({ value, text }, change) => {
        const merged = change.merge(text);
        const ours = readJson(change.content).value as Record<string, unknown>;
        expect(readJson(merged.text).value).toEqual(change === mirrors ? { ...value, ...ours } : { ...value, auths: { ...(value['auths'] as object), ...(ours['auths'] as object) } });
        expect(change.merge(merged.text).text).toBe(merged.text);
        expect(readJson(withoutJsonKeys(merged.text, merged.undo as Undo & { kind: 'json' }, '/d')).value).toEqual(value);
      }),
    );
  });

  test('are told from what others added since, wherever they added it', () => {
    const { undo } = mirrors.merge('{"a": 1}');
    const without = (text: string): string => withoutJsonKeys(text, undo as Undo & { kind: 'json' }, '/d');
    expect(without('{"registry-mirrors": ["http://u"], "b": [2]}')).toBe('{"b": [2]}');
    expect(without('{"a": 1, "registry-mirrors": ["http://w", "http://u", "http://v"]}')).toBe('{"a": 1, "registry-mirrors": ["http://w", "http://v"]}');
    expect(without('{"a": 1}')).toBe('{"a": 1}');
  });

  test('that somebody changed since stay, and that is said', () => {
    const { undo } = login.merge('{}');
    expect(() => withoutJsonKeys('{"auths": {"u:1": {"auth": "new"}}}', undo as Undo & { kind: 'json' }, '/c')).toThrow(/"auths.u:1" was changed since/);
    expect(withoutJsonKeys('{"auths": {"u:1": {"auth": "x"}, "v": {}}}', undo as Undo & { kind: 'json' }, '/c')).toBe('{"auths": {"v": {}}}');
    expect(withoutJsonKeys('{"auths": {"u:1": {"auth": "x"}}}', undo as Undo & { kind: 'json' }, '/c')).toBe('{}');
  });
});

test('positions in JSON are those of its parts', () => {
  fc.assert(
    fc.property(texts, ({ text }) => {
      const walk = (node: ReturnType<typeof readJson>): boolean =>
        isDeepStrictEqual(JSON.parse(text.slice(node.start, node.end)), node.value) && [...(node.elements ?? []), ...(node.members ?? []).map((one) => one.node)].every(walk);
      expect(walk(readJson(text))).toBe(true);
    }),
  );
});
