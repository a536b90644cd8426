/** What must hold between the values of a configuration. Each function reports all it finds. */
import { isLoopback, parseAddress } from './address.ts';
import type { Path } from './problem.ts';
import type { Settings, UpstreamSettings, UserSettings } from './settings.ts';

/** Takes a problem. `needs`: other parts of the file that it depends on; where one of them is broken, nothing can be said. */
export type Report = (path: Path, message: string, needs?: readonly (keyof Settings)[]) => void;

/** Is anything said about who may do what? */
export function authConfigured({ anonymous, users, htpasswd, rules, oidc, keystone }: Settings['auth']): boolean {
  return [anonymous, users, htpasswd, rules, oidc, keystone].some((part) => part !== undefined);
}

export function checkListeners({ listeners, views, auth }: Settings, report: Report): void {
  const taken = new Map<string, number>();
  for (const [i, { address, view, proxy, tunnel }] of listeners.entries()) {
    const binds = parseAddress(address) ?? [];
    const at: Path = ['listeners', i];
    const first = binds
      .map(({ host, port }) => (port === 0 ? undefined : taken.get(`${host} ${port}`)))
      .find((other) => other !== undefined);
    if (first !== undefined) report([...at, 'address'], `listeners[${first}] listens there already`);
    for (const { host, port } of binds) if (!taken.has(`${host} ${port}`)) taken.set(`${host} ${port}`, i);
    if (!authConfigured(auth) && binds.some(({ host }) => !isLoopback(host))) {
      const what = 'anybody who can reach it could push, as no auth is configured';
      report(
        [...at, 'address'],
        `${what}; say who may do what (auth.users, auth.htpasswd, auth.oidc, auth.keystone, auth.rules or auth.anonymous), or listen on localhost`,
        ['auth'],
      );
    }
    if (tunnel.length > 0 && !proxy) report([...at, 'tunnel'], 'belongs to a listener with proxy: true');
    if (!knownViews(views).has(view))
      report([...at, 'view'], `expected one of ${[...knownViews(views)].join(', ')}, got ${JSON.stringify(view)}`, ['views']);
  }
}

export function checkViews({ views: { define } }: Settings, report: Report): void {
  const known = knownViews({ define });
  const at = (id: string): Path => ['views', 'define', id, 'parents'];
  for (const [id, { parents }] of Object.entries(define)) {
    if (id === 'main' || id === 'upstream') report(['views', 'define', id], `${id} is always there and cannot be defined`);
    if (id === 'approved' && parents.length > 0)
      report(at(id), 'expected none: what the policy approved gives would not be only what was approved');
    for (const [i, parent] of parents.entries()) {
      if (!known.has(parent)) report([...at(id), i], `expected one of ${[...known].join(', ')}, got ${JSON.stringify(parent)}`);
    }
  }
  const told = new Set<string>();
  for (const id of Object.keys(define)) {
    const cycle = told.has(id) ? undefined : cycleThrough(id, define);
    if (cycle === undefined) continue;
    for (const member of cycle) told.add(member);
    report(at(id), `expected no cycle, got ${[...cycle, id].join(' -> ')}`);
  }
}

export function checkUpstream(at: Path, { username, password, passwordFile }: UpstreamSettings, report: Report): void {
  if (password !== undefined && passwordFile !== undefined) report([...at, 'passwordFile'], 'expected password or passwordFile, got both');
  const hasPassword = password !== undefined || passwordFile !== undefined;
  if (username !== undefined && !hasPassword) report([...at, 'username'], 'expected a password or passwordFile with it');
  if (username === undefined && hasPassword)
    report([...at, password === undefined ? 'passwordFile' : 'password'], 'expected a username with it');
}

export function checkUser(at: Path, user: UserSettings, earlier: readonly UserSettings[], report: Report): void {
  if (earlier.some(({ name }) => name === user.name)) report([...at, 'name'], `there are two users ${JSON.stringify(user.name)}`);
  const given = (['password', 'passwordFile', 'passwordHash', 'passwordHashFile'] as const).filter((key) => user[key] !== undefined);
  if (given.length === 0)
    report(at, `the user ${JSON.stringify(user.name)} cannot log in: expected a password, passwordFile, passwordHash or passwordHashFile`);
  if (given.length > 1) report([...at, given[1] ?? ''], `expected one password, got ${given.join(' and ')}`);
}

export function checkRules({ rules, users, htpasswd }: Settings['auth'], report: Report): void {
  if (htpasswd !== undefined) return; // its names change while we run
  const known = ['anonymous', '*', ...(users ?? []).map(({ name }) => name)];
  for (const [i, { who }] of (rules ?? []).entries()) {
    if (!known.includes(who)) report(['auth', 'rules', i, 'who'], `expected one of ${known.join(', ')}, got ${JSON.stringify(who)}`);
  }
}

/** A token is of one issuer. */
export function checkOidc({ oidc = [] }: Settings['auth'], report: Report): void {
  for (const [i, { issuer, rules }] of oidc.entries()) {
    if (oidc.slice(0, i).some((other) => other.issuer === issuer)) report(['auth', 'oidc', i, 'issuer'], `there are two of ${issuer}; give one all rules`);
    for (const [n, { claims }] of rules.entries()) {
      // Whoever runs a job at a public issuer would be meant.
      if (Object.keys(claims).length === 0) report(['auth', 'oidc', i, 'rules', n, 'claims'], 'expected at least one claim: this rule is for everybody whom the issuer knows');
    }
  }
}

function knownViews({ define }: Pick<Settings['views'], 'define'>): ReadonlySet<string> {
  return new Set(['main', 'upstream', 'approved', ...Object.keys(define)]);
}

/** The shortest way from a view back to itself. */
function cycleThrough(id: string, define: Settings['views']['define']): readonly string[] | undefined {
  const seen = new Set<string>();
  let ways: readonly (readonly string[])[] = [[id]];
  while (ways.length > 0) {
    const next: (readonly string[])[] = [];
    for (const way of ways) {
      for (const parent of define[way.at(-1) ?? id]?.parents ?? []) {
        if (parent === id) return way;
        if (!seen.has(parent)) next.push([...way, parent]);
        seen.add(parent);
      }
    }
    ways = next;
  }
  return undefined;
}
