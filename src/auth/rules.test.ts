import { readFile } from 'node:fs/promises';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import type { Action, AnonymousAccess, RuleConfig, UserAccess } from '../config/config.ts';
import { makeName, parseViewId, type ViewId } from '../oci/name.ts';
import { ANONYMOUS, type Identity } from './identity.ts';
import { compileRules } from './rules.ts';

const [MAIN, APPROVED, UPSTREAM, STAGING] = ['main', 'approved', 'upstream', 'staging'].map(parseViewId) as [ViewId, ViewId, ViewId, ViewId];
const ORG = makeName('docker.io', 'org/app');
const OTHER = makeName('quay.io', 'other/app');
const ACTIONS: readonly Action[] = ['pull', 'push', 'delete', 'admin'];

const user = (name: string, access: UserAccess): Identity => ({ kind: 'user', name, access });
const rule = (who: string, may: readonly Action[], names: readonly string[] = ['*'], views?: readonly string[]): RuleConfig => ({ who, may, names, views });

/** `main` `docker.io/org/app` of what is allowed, as `pull,push`. */
function may(config: { anonymous?: AnonymousAccess; rules?: readonly RuleConfig[] }, identity: Identity, view = MAIN, name = ORG): string {
  const rules = compileRules({ anonymous: config.anonymous ?? 'none', rules: config.rules ?? [] });
  return ACTIONS.filter((action) => rules.permits(identity, action, view, name)).join(',');
}

describe('without rules, the level counts', () => {
  test.each([
    ['anonymous none', { anonymous: 'none' }, ANONYMOUS, MAIN, ''],
    ['anonymous pull', { anonymous: 'pull' }, ANONYMOUS, MAIN, 'pull'],
    ['anonymous push', { anonymous: 'push' }, ANONYMOUS, MAIN, 'pull,push,delete'],
    ['anonymous push, approved view', { anonymous: 'push' }, ANONYMOUS, APPROVED, 'pull'],
    ['pull', {}, user('a', 'pull'), MAIN, 'pull'],
    ['push', {}, user('a', 'push'), MAIN, 'pull,push,delete'],
    ['push, another view', {}, user('a', 'push'), STAGING, 'pull,push,delete'],
    ['push, approved view', {}, user('a', 'push'), APPROVED, 'pull'],
    ['push, upstream view', {}, user('a', 'push'), UPSTREAM, 'pull'],
    ['admin', {}, user('a', 'admin'), MAIN, 'pull,push,delete,admin'],
    ['admin, approved view', {}, user('a', 'admin'), APPROVED, 'pull,push,delete,admin'],
    ['a user who may pull, where anonymous pushes', { anonymous: 'push' }, user('a', 'pull'), MAIN, 'pull,push,delete'],
  ] as const)('%s', (_, config, identity, view, expected) => {
    expect(may(config, identity, view)).toBe(expected);
  });
});

describe('rules replace the level of those they speak of', () => {
  const ci = rule('ci', ['pull', 'push'], ['docker.io/org/*']);
  test.each([
    ['inside the pattern', { rules: [ci] }, user('ci', 'push'), MAIN, ORG, 'pull,push'],
    ['outside', { rules: [ci] }, user('ci', 'push'), MAIN, OTHER, ''],
    ['outside, where anonymous pulls', { rules: [ci], anonymous: 'pull' }, user('ci', 'push'), MAIN, OTHER, 'pull'],
    ['a rule gives what the level does not', { rules: [ci] }, user('ci', 'pull'), MAIN, ORG, 'pull,push'],
    ['somebody else keeps the level', { rules: [ci] }, user('dev', 'push'), MAIN, OTHER, 'pull,push,delete'],
    ['an admin is not bound', { rules: [ci] }, user('ci', 'admin'), APPROVED, OTHER, 'pull,push,delete,admin'],
    ['* speaks of every user', { rules: [rule('*', ['pull'])] }, user('dev', 'push'), MAIN, ORG, 'pull'],
    ['* adds to own rules', { rules: [ci, rule('*', ['pull'])] }, user('ci', 'push'), MAIN, OTHER, 'pull'],
    ['* does not speak of anonymous', { rules: [rule('*', ['pull'])] }, ANONYMOUS, MAIN, ORG, ''],
    ['own rules add up', { rules: [ci, rule('ci', ['delete'], ['docker.io/*'])] }, user('ci', 'push'), MAIN, ORG, 'pull,push,delete'],
    ['a rule for anonymous opens what none closes', { rules: [rule('anonymous', ['pull'], ['docker.io/org/*'])] }, ANONYMOUS, MAIN, ORG, 'pull'],
    ['and closes what pull opens', { anonymous: 'pull', rules: [rule('anonymous', ['pull'], ['docker.io/org/*'])] }, ANONYMOUS, MAIN, OTHER, ''],
    ['users have what such a rule gives', { rules: [rule('anonymous', ['pull']), ci] }, user('ci', 'push'), MAIN, OTHER, 'pull'],
  ] as const)('%s', (_, config, identity, view, name, expected) => {
    expect(may(config, identity, view, name)).toBe(expected);
  });
});

test('docs/authenticate.md says so', async () => {
  const page = await readFile(new URL('../../docs/authenticate.md', import.meta.url), 'utf8');
  const [, yaml = ''] = /## Rules\n\n```yaml\n([^`]*)```/.exec(page) ?? [];
  const { auth } = parse(yaml) as { auth: { anonymous: AnonymousAccess; users: { name: string; access?: UserAccess }[]; rules: RuleConfig[] } }; // as the page has it
  const rows = page.split('\n').filter((line) => /^\| \w+ \| `/.test(line)).map((line) => line.split('|').map((cell) => cell.trim().replaceAll('`', '')));
  expect(rows.length).toBeGreaterThan(5);
  for (const [, who = '', name = '', view = '', , , expected = ''] of rows) {
    const identity = who === 'anonymous' ? ANONYMOUS : user(who, auth.users.find((one) => one.name === who)?.access ?? 'pull');
    const [host = '', ...path] = name.split('/');
    const allowed = may(auth, identity, parseViewId(view), makeName(host, path.join('/')));
    expect([who, name, view, allowed]).toEqual([who, name, view, expected === '–' ? '' : expected.replaceAll(' ', '')]);
  }
});

describe('views of a rule', () => {
  const all = ['pull', 'push', 'delete', 'admin'] as const;
  test.each([
    ['none: main', undefined, MAIN, true],
    ['none: another', undefined, STAGING, true],
    ['none: not approved', undefined, APPROVED, false],
    ['none: not upstream', undefined, UPSTREAM, false],
    ['spelled out', ['approved'], APPROVED, true],
    ['spelled out: no other', ['approved'], MAIN, false],
    ['a pattern', ['stag*'], STAGING, true],
    ['* is not approved', ['*'], APPROVED, false],
    ['appr* is not approved', ['appr*'], APPROVED, false],
    ['* beside approved', ['*', 'approved'], APPROVED, true],
  ] as const)('%s', (_, views, view, covered) => {
    expect(may({ rules: [rule('job', all, ['*'], views)] }, user('job', 'push'), view)).toBe(covered ? all.join(',') : '');
  });
});

test.each([
  [rule('ci', ['pull'], ['org/*']), 'auth.rules[0].names[0] "org/*"'],
  [rule('ci', ['pull'], []), 'auth.rules[0].names is empty'],
  [rule('ci', [], ['*']), 'auth.rules[0].may is empty'],
  [rule('', ['pull']), 'auth.rules[0].who is empty'],
  [rule('ci', ['pull'], ['*'], ['Main']), 'auth.rules[0].views[0] "Main"'],
  [rule('ci', ['pull'], ['*'], []), 'auth.rules[0].views is empty'],
])('a rule that could never apply is refused: %j', (bad, message) => {
  expect(() => compileRules({ anonymous: 'none', rules: [bad] })).toThrow(message);
});

describe('strangers and invalid tokens', () => {
  const rules = compileRules({ anonymous: 'push', rules: [] });
  test('a stranger pulls as anonymous does, and nothing more', () => {
    expect(ACTIONS.filter((action) => rules.permits({ kind: 'stranger', problem: '' }, action, MAIN, ORG))).toEqual(['pull']);
  });
  test('an invalid token may nothing', () => {
    expect(ACTIONS.filter((action) => rules.permits({ kind: 'invalid', problem: '' }, action, MAIN, ORG))).toEqual([]);
    expect(rules.permitsCatalog({ kind: 'invalid', problem: '' }, MAIN)).toBe(false);
  });
});

describe('the catalogue is for those who may pull all of it', () => {
  test.each([
    ['anonymous pull', 'pull', [], ANONYMOUS, MAIN, true],
    ['anonymous none', 'none', [], ANONYMOUS, MAIN, false],
    ['a user', 'none', [], user('a', 'pull'), MAIN, true],
    ['a rule for some names', 'none', [rule('a', ['pull'], ['docker.io/*'])], user('a', 'pull'), MAIN, false],
    ['a rule for all names', 'none', [rule('a', ['pull'], ['quay.io/*', '*'])], user('a', 'pull'), MAIN, true],
    ['a rule for all names of another view', 'none', [rule('a', ['pull'], ['*'], ['staging'])], user('a', 'pull'), MAIN, false],
    ['a rule to push only', 'none', [rule('a', ['push'], ['*'])], user('a', 'pull'), MAIN, false],
  ] as const)('%s', (_, anonymous, rules, identity, view, expected) => {
    expect(compileRules({ anonymous, rules }).permitsCatalog(identity, view)).toBe(expected);
  });
});

describe('whatever the configuration', () => {
  const patterns = fc.constantFrom('*', 'docker.io/*', 'docker.io/org/*', 'quay.io/other/app');
  const rules = fc.array(fc.record({
    who: fc.constantFrom('anonymous', '*', 'ci', 'dev'),
    names: fc.array(patterns, { minLength: 1, maxLength: 2 }),
    views: fc.option(fc.array(fc.constantFrom('main', 'staging', 'approved', '*'), { minLength: 1, maxLength: 2 }), { nil: undefined }),
    may: fc.uniqueArray(fc.constantFrom(...ACTIONS), { minLength: 1 }),
  }), { maxLength: 4 });
  const config = fc.record({ anonymous: fc.constantFrom<AnonymousAccess>('none', 'pull', 'push'), rules });
  const asked = fc.tuple(fc.constantFrom(...ACTIONS), fc.constantFrom(MAIN, APPROVED, UPSTREAM, STAGING), fc.constantFrom(ORG, OTHER));
  const somebody = fc.constantFrom(user('ci', 'pull'), user('ci', 'push'), user('dev', 'push'), user('else', 'pull'));

  test('a login takes nothing away', () => {
    fc.assert(fc.property(config, asked, somebody, (written, [action, view, name], identity) => {
      const compiled = compileRules(written);
      if (compiled.permits(ANONYMOUS, action, view, name)) expect(compiled.permits(identity, action, view, name)).toBe(true);
    }));
  });

  test('nobody but an admin writes to approved or upstream without a rule that spells it out', () => {
    fc.assert(fc.property(config, asked, somebody, (written, [action, , name], identity) => {
      const compiled = compileRules(written);
      const spelled = written.rules.some(({ views }) => views?.includes('approved'));
      if (action === 'pull') return;
      expect(compiled.permits(identity, action, UPSTREAM, name)).toBe(false);
      if (!spelled) expect(compiled.permits(identity, action, APPROVED, name)).toBe(false);
    }));
  });
});
