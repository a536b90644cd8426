/**
 * Who may do what (DESIGN section 9). Rules are matched against canonical names, whatever the client wrote.
 *
 * 1. `access` (for anonymous: `auth.anonymous`) is what somebody may do whom no rule speaks of:
 *    `pull` pulls everything; `push` also pushes and deletes, in all views but `approved` and `upstream`.
 * 2. As soon as one rule speaks of somebody, by name or as `*` (everybody who logged in), rules say it all: what they
 *    may do is the sum of those rules, and `access` no longer counts. Rules that forget something shut somebody out,
 *    which shows, instead of leaving something open, which does not. `anonymous` has only the rules for `anonymous`.
 * 3. Whatever anonymous may do, everybody may.
 * 4. Whom another service vouches for (OIDC, Keystone), has the grants that came with the login, and those of the rules for `*`.
 * 5. Users with `access: admin` may do everything everywhere; rules do not bind them.
 * 6. In a rule, each of pull, push, delete and admin is only itself. A rule without `views` covers all views but
 *    `approved` and `upstream`; these two are only ever covered by a rule that spells them out, not by a pattern.
 */
import type { Action, AnonymousAccess, GrantConfig, RuleConfig, UserAccess } from '../config/config.ts';
import type { Name, ViewId } from '../oci/name.ts';
import { ACTION_BITS } from './action.ts';
import type { Identity } from './identity.ts';
import { compilePattern, namePatternProblem, viewPatternProblem } from './pattern.ts';

export interface Grant {
  /** Bits of `action.ts`. */
  readonly actions: number;
  /** Whether every name is covered. */
  readonly allNames: boolean;
  readonly covers: (view: ViewId, name: Name) => boolean;
  readonly coversView: (view: ViewId) => boolean;
}

/** What one party may do: the union of its grants. */
type Rights = readonly Grant[];

export interface Rules {
  /** Asked on every request: allocates nothing. */
  permits(identity: Identity, action: Action, view: ViewId, name: Name): boolean;
  /** The catalogue is for those who may pull every name of the view: it is not filtered. */
  permitsCatalog(identity: Identity, view: ViewId): boolean;
  /** May anonymous push wherever an ordinary user may? */
  readonly anonymousPushes: boolean;
  /** May anonymous do anything at all? */
  readonly anonymousCounts: boolean;
}

const CURATED: ReadonlySet<string> = new Set(['approved', 'upstream']);
const everyView = (): boolean => true;
const ordinaryView = (view: ViewId): boolean => !CURATED.has(view);

function allNames(actions: number, coversView: (view: ViewId) => boolean): Grant {
  return { actions, allNames: true, covers: coversView, coversView };
}

const { pull: PULL, push: PUSH, delete: DELETE, admin: ADMIN } = ACTION_BITS;
const LEVELS: Readonly<Record<AnonymousAccess | UserAccess, Rights>> = {
  none: [],
  pull: [allNames(PULL, everyView)],
  push: [allNames(PULL, everyView), allNames(PUSH | DELETE, ordinaryView)],
  admin: [allNames(PULL | PUSH | DELETE | ADMIN, everyView)],
};

/** @throws Error naming the rule and what was expected, where a rule could never apply */
export function compileRules(config: { readonly anonymous: AnonymousAccess; readonly rules: readonly RuleConfig[] }): Rules {
  const byWho = new Map<string, Grant[]>();
  for (const [index, rule] of config.rules.entries()) {
    const grant = compileRule(rule, `auth.rules[${index}]`);
    byWho.set(rule.who, [...(byWho.get(rule.who) ?? []), grant]);
  }
  const anonymous: Rights = byWho.get('anonymous') ?? LEVELS[config.anonymous];
  const everybody = byWho.get('*') ?? [];
  const named = new Map([...byWho].map(([who, own]): [string, Rights] => [who, [...own, ...everybody, ...anonymous]]));
  const shared: Rights = [...everybody, ...anonymous];
  const level = (access: UserAccess): Rights => [...(everybody.length > 0 ? everybody : LEVELS[access]), ...anonymous];
  const levels: Readonly<Record<UserAccess, Rights>> = { pull: level('pull'), push: level('push'), admin: LEVELS.admin };
  const rightsOf = (name: string, access: UserAccess): Rights => (access === 'admin' ? levels.admin : (named.get(name) ?? levels[access]));

  return {
    permits(identity, action, view, name) {
      const bit = ACTION_BITS[action];
      switch (identity.kind) {
        case 'anonymous':
          return allows(anonymous, bit, view, name);
        case 'user':
          if (typeof identity.access === 'string') return allows(rightsOf(identity.name, identity.access), bit, view, name);
          return allows(identity.access, bit, view, name) || allows(shared, bit, view, name);
        case 'token':
          for (const grant of identity.grants) if ((grant.actions & bit) !== 0 && grant.name === name && grant.view === view) return true;
          return false;
        case 'stranger':
          return action === 'pull' && allows(anonymous, bit, view, name);
        case 'invalid':
          return false;
      }
    },
    permitsCatalog(identity, view) {
      switch (identity.kind) {
        case 'anonymous':
        case 'stranger':
          return pullsAll(anonymous, view);
        case 'user':
          if (typeof identity.access === 'string') return pullsAll(rightsOf(identity.name, identity.access), view);
          return pullsAll(identity.access, view) || pullsAll(shared, view);
        case 'token':
          return identity.grants.some((grant) => grant.name === 'catalog' && grant.view === view);
        case 'invalid':
          return false;
      }
    },
    anonymousPushes: anonymous === LEVELS.push,
    anonymousCounts: anonymous.length > 0,
  };
}

function allows(rights: Rights, bit: number, view: ViewId, name: Name): boolean {
  for (const grant of rights) if ((grant.actions & bit) !== 0 && grant.covers(view, name)) return true;
  return false;
}

function pullsAll(rights: Rights, view: ViewId): boolean {
  return rights.some((grant) => grant.allNames && (grant.actions & PULL) !== 0 && grant.coversView(view));
}

function compileRule(rule: RuleConfig, key: string): Grant {
  if (rule.who === '') throw new Error(`${key}.who is empty: expected a user, "anonymous" or "*"`);
  return compileGrant(rule, key);
}

/** @param key of the rule, for messages. @throws Error saying what was expected, where it could never apply */
export function compileGrant(rule: GrantConfig, key: string): Grant {
  if (rule.may.length === 0) throw new Error(`${key}.may is empty: expected some of pull, push, delete, admin`);
  const names = compileAny(rule.names, `${key}.names`, namePatternProblem);
  const coversView = rule.views === undefined ? ordinaryView : compileViews(rule.views, `${key}.views`);
  return {
    actions: rule.may.reduce((sum, action) => sum | ACTION_BITS[action], 0),
    allNames: rule.names.some((pattern) => /^\*+$/.test(pattern)),
    covers: (view, name) => coversView(view) && names(name),
    coversView,
  };
}

function compileViews(patterns: readonly string[], key: string): (view: ViewId) => boolean {
  const matches = compileAny(patterns, key, viewPatternProblem);
  const spelled = new Set(patterns);
  return (view) => (CURATED.has(view) ? spelled.has(view) : matches(view));
}

function compileAny(patterns: readonly string[], key: string, problemOf: typeof namePatternProblem): (text: string) => boolean {
  if (patterns.length === 0) throw new Error(`${key} is empty: expected at least one pattern`);
  const matchers = patterns.map((pattern, index) => {
    const problem = problemOf(pattern);
    if (problem !== undefined) throw new Error(`${key}[${index}] ${JSON.stringify(pattern)} can never match: ${problem}`);
    return compilePattern(pattern);
  });
  const [only] = matchers;
  if (only !== undefined && matchers.length === 1) return only;
  return (text) => {
    for (const matches of matchers) if (matches(text)) return true;
    return false;
  };
}
