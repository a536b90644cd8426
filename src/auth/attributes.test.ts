import { describe, expect, test } from 'vitest';
import type { AttributeRuleConfig } from '../config/config.ts';
import { makeName, parseViewId } from '../oci/name.ts';
import { compileAttributeRules, type Attributes } from './attributes.ts';
import { claimsOf } from './oidc/claims.ts';

const rule = (where: Record<string, readonly string[]>, views?: readonly string[]): AttributeRuleConfig => ({ where: new Map(Object.entries(where)), names: ['docker.io/org/*'], views, may: ['push'] });
const attributes = (all: Record<string, readonly string[]>): Attributes => (name) => all[name] ?? [];
const APP = makeName('docker.io', 'org/app');

/** Of these views, those that are covered. */
function views(template: string, all: Record<string, readonly string[]>, candidates: readonly string[]): string[] {
  const { grants } = compileAttributeRules([rule({}, [template])], 'rules')(attributes(all));
  return candidates.filter((view) => grants.some((grant) => grant.covers(parseViewId(view), APP)));
}

describe('a rule', () => {
  const rules = compileAttributeRules([rule({ repository: ['org/*'], ref: ['refs/heads/main', 'refs/tags/*'] }), rule({ group: ['admins'] })], 'rules');

  test.each<[string, Record<string, readonly string[]>, readonly string[]]>([
    ['fits where each attribute does', { repository: ['org/app'], ref: ['refs/tags/v1'] }, ['1 group']],
    ['does not where one is another', { repository: ['org/app'], ref: ['refs/heads/next'] }, ['0 ref', '1 group']],
    ['does not where one is absent', { ref: ['refs/heads/main'] }, ['0 repository', '1 group']],
    ['takes no part for the whole', { repository: ['my-org/app'], ref: ['refs/heads/main2'] }, ['0 repository', '1 group']],
    ['fits by one of several values', { group: ['users', 'admins'] }, ['0 repository']],
    ['fits beside others', { repository: ['org/app'], ref: ['refs/heads/main'], group: ['admins'] }, []],
  ])('%s', (_, all, misfits) => {
    const fit = rules(attributes(all));
    expect(fit.misfits.map(({ rule: index, attribute }) => `${index} ${attribute}`)).toEqual(misfits);
    expect(fit.grants).toHaveLength(2 - misfits.length);
  });

  test('that could never apply stops the start', () => {
    expect(() => compileAttributeRules([rule({}, ['Change-{a}'])], 'auth.oidc[0].rules')).toThrow('auth.oidc[0].rules[0].views[0] "Change-x" can never match');
  });
});

describe('a view with an attribute', () => {
  test.each<[string, string, readonly string[], readonly string[]]>([
    ['is the view of that value', 'change-{build}', ['7f3a'], ['change-7f3a']],
    ['and no other by way of a pattern', 'change-{build}', ['*'], []],
    ['is none where the value is not what a view can be called', 'change-{build}', ['7F3A'], []],
    ['is none where the value has more to it', 'change-{build}', ['7f3a/../main'], []],
    ['is none where there is no value', 'change-{build}', [], []],
    ['is none where there are several', 'change-{build}', ['7f3a', '8b'], []],
    ['is none where it would be too long', 'change-{build}', ['a'.repeat(60)], []],
    ['never is a view that is always there', 'ma{build}', ['in'], []],
    ['never is a curated one', 'approv{build}', ['ed'], []],
    ['takes a replacement pattern for text', 'change-{build}', ['$&'], []],
  ])('%s', (_, template, values, expected) => {
    expect(views(template, { build: values }, ['change-7f3a', 'change-8b', 'change-', 'main', 'approved', 'upstream'].filter((view) => !view.endsWith('-')))).toEqual(expected);
  });

  test('stands beside others, which go on without it', () => {
    const { grants } = compileAttributeRules([rule({}, ['staging', 'change-{build}'])], 'rules')(attributes({}));
    expect(grants.map((grant) => grant.covers(parseViewId('staging'), APP))).toEqual([true]);
  });
});

test('claims are text, numbers and truth values, lists of them, and claims within claims', () => {
  const claims = claimsOf({
    ref: 'main', run: 7, protected: true, groups: ['a', 2, { x: 1 }, null], nothing: null, 'kubernetes.io': { namespace: 'ci', pod: { name: 'p' } },
    a: { b: { c: 'nested' } }, 'a.b': { c: 'longest name first' }, 'https://example.org/role': 'r',
  });
  expect(['ref', 'run', 'protected', 'groups', 'nothing', 'absent', 'kubernetes.io', 'kubernetes.io.namespace', 'kubernetes.io.pod.name', 'a.b.c', 'https://example.org/role', 'groups.0', 'constructor', '__proto__.x', 'ref.length'].map((name) => claims(name).join(','))).toEqual(
    ['main', '7', 'true', 'a,2', '', '', '', 'ci', 'p', 'longest name first', 'r', '', '', '', ''],
  );
});
