/**
 * A zuul-registry's configuration file in our words: a document like one of ours, so that all that is checked, explained
 * and said of a configuration holds for it, too. Keys of ours may stand beside `registry:`, as far as that says nothing
 * of them.
 */
import { isIPv6 } from 'node:net';
import { resolve as resolvePath } from 'node:path';
import * as v from 'valibot';
import type { Dialect, DialectSurroundings, Fault, ParsedDocument } from '../config/document.ts';
import type { Kind } from '../config/kinds.ts';
import { formatPath, type Path } from '../config/problem.ts';
import { DEFAULT_UPSTREAMS } from '../config/schema.ts';
import { REGISTRY, STORAGE, type Shadow, type ZuulRegistry, type ZuulStorage } from './schema.ts';
import { shield, substitute, unsetIn, unshield } from './substitution.ts';
import { Translation } from './translation.ts';

const ROOT = 'registry';

export const ZUUL: Dialect = { root: ROOT, shield, unshield, substitute, translate, translateStorage };

/** What `registry:` says all of. */
const SAID: readonly string[] = ['listeners', 'storage', 'auth', 'tagExpiry'];

function translate(document: ParsedDocument, { cwd }: DialectSurroundings): ParsedDocument {
  const beside = Object.entries(document.value as Record<string, unknown>).filter(([key]) => key !== ROOT); // load.ts found `registry` in it
  const { output, faults } = check(REGISTRY, document, [ROOT]);
  for (const [key] of beside) {
    if (SAID.includes(key)) faults.push(faultAt(document, [key], `registry: says this; to say more, write the whole file in Umbra's words, as "umbra config convert" prints it`));
  }
  if (output === undefined || faults.length > 0) return broken(document, faults);
  faults.push(...unsetSecrets(output, document));
  const ours = new Translation(document.places);
  for (const [key, value] of beside) ours.keep(key, value);
  putListener(ours, output, cwd);
  putAuth(ours, output);
  putStorage(ours, output.storage, cwd);
  const expirations = ([[ROOT, 'storage', 'expiration'], [ROOT, 'expiration']] satisfies Path[]).filter((path) => document.places.has(formatPath(path)));
  const [expiration, second] = expirations;
  if (second !== undefined) faults.push(faultAt(document, second, 'expected it once, and it stands in storage, too'));
  if (expiration !== undefined) ours.put(['tagExpiry'], output.storage.expiration ?? output.expiration, expiration);
  if (output['tls-key'] !== undefined && output['tls-cert'] === undefined) faults.push({ ...faultAt(document, [ROOT, 'tls-key'], 'missing: tls-key is of no use without it'), path: [ROOT, 'tls-cert'] });
  faults.push(...missingRoot(output.storage, document));
  if (output.shadow !== undefined) faults.push(...putShadow(ours, output.shadow, document));
  return faults.length > 0 ? broken(document, faults) : ours.document(document.faults);
}

function translateStorage(document: ParsedDocument, { cwd }: DialectSurroundings): ParsedDocument {
  const { output, faults } = check(STORAGE, document, [ROOT, 'storage']);
  if (output !== undefined) faults.push(...missingRoot(output, document));
  if (output === undefined || faults.length > 0) return broken({ ...document, faults: [] }, faults);
  const ours = new Translation(document.places);
  putStorage(ours, output, cwd);
  return ours.document([]);
}

function putListener(ours: Translation, { address, port, ...registry }: ZuulRegistry, cwd: string): void {
  const host = isIPv6(address) ? `[${address}]` : address;
  ours.derive(['listeners', 0, 'address'], `${host}:${port}`, [ROOT, 'address'], [ROOT, 'port']);
  ours.put(['listeners', 0, 'publicUrl'], registry['public-url'], [ROOT, 'public-url']);
  if (registry['tls-key'] === undefined) return;
  for (const [key, theirs] of [['cert', 'tls-cert'], ['key', 'tls-key']] as const) putPath(ours, ['listeners', 0, 'tls', key], registry[theirs], [ROOT, theirs], cwd);
}

function putAuth(ours: Translation, { secret, users }: ZuulRegistry): void {
  ours.put(['auth', 'secret'], secret, [ROOT, 'secret']);
  ours.derive(['auth', 'anonymous'], users.some(({ access }) => access === 'read') ? 'none' : 'pull', [ROOT, 'users']);
  for (const [i, { name, pass, access }] of users.entries()) {
    const to = ['auth', 'users', i];
    const from = [ROOT, 'users', i];
    ours.locate(to, from);
    ours.put([...to, 'name'], name, [...from, 'name']);
    ours.put([...to, 'password'], pass, [...from, 'pass']);
    ours.derive([...to, 'access'], access === 'write' ? 'push' : 'pull', [...from, 'access']);
  }
}

/** In the same words, but for these. */
const STORAGE_WORDS: Readonly<Record<string, string>> = { 'access-key': 'accessKeyId', 'secret-key': 'secretAccessKey' };

function putStorage(ours: Translation, { expiration: _, root, ...storage }: ZuulStorage, cwd: string): void {
  const from = [ROOT, 'storage'];
  ours.locate(['storage'], from);
  for (const [key, value] of Object.entries(storage)) ours.put(['storage', STORAGE_WORDS[key] ?? key], value, [...from, key]);
  putPath(ours, ['storage', 'root'], root, [...from, 'root'], cwd);
}

/** Ours is a folder beside the file, which nobody means there. */
function* missingRoot({ driver, root }: ZuulStorage, document: ParsedDocument): Iterable<Fault> {
  if (driver === 'filesystem' && root === undefined) yield faultAt(document, [ROOT, 'storage', 'root'], 'missing: the folder');
}

/** Their paths are relative to where the process stands, ours to the file. */
function putPath(ours: Translation, to: Path, path: string | undefined, from: Path, cwd: string): void {
  if (path === undefined) return;
  const absolute = resolvePath(cwd, path);
  if (absolute === path) ours.put(to, path, from);
  else ours.derive(to, absolute, from);
}

function* putShadow(ours: Translation, shadow: Readonly<Record<string, Shadow>>, document: ParsedDocument): Iterable<Fault> {
  const own = (document.value as Record<string, unknown>)['upstreams'];
  if (own === undefined) for (const host of DEFAULT_UPSTREAMS) ours.derive(['upstreams', host], {}, [ROOT, 'shadow']);
  for (const [host, where] of Object.entries(shadow)) {
    const from = [ROOT, 'shadow', host];
    if (typeof own === 'object' && own !== null && host in own) yield faultAt(document, from, 'upstreams speaks of it, too');
    ours.derive(['upstreams', host], { url: urlOf(where) }, from);
  }
}

function urlOf(where: Shadow): string {
  if (typeof where === 'string') return where.includes('://') ? where : `https://${where}`;
  const host = isIPv6(where.hostname) ? `[${where.hostname}]` : where.hostname;
  return `https://${host}${where.port === undefined ? '' : `:${where.port}`}`;
}

/** A text that stands in a public manual is no secret. */
function* unsetSecrets({ users }: ZuulRegistry, document: ParsedDocument): Iterable<Fault> {
  const secrets: readonly Path[] = [[ROOT, 'secret'], ...users.map((_, i) => [ROOT, 'users', i, 'pass']), [ROOT, 'storage', 'secret-key']];
  for (const path of secrets) {
    // As it was written: what a variable holds may look like anything.
    const variable = unsetIn(document.places.get(formatPath(path))?.written ?? '');
    if (variable !== undefined) yield faultAt(document, path, `the environment variable ${variable} is not set`);
  }
}

function check<T>(kind: Kind<T>, document: ParsedDocument, at: Path): { readonly output: T | undefined; readonly faults: Fault[] } {
  const value = at.reduce<unknown>((inner, key) => (typeof inner === 'object' && inner !== null ? (inner as Record<string | number, unknown>)[key] : undefined), document.value);
  const { success, output, issues = [] } = v.safeParse(kind, given(value));
  const faults = issues.map(({ path = [], message }) => faultAt(document, [...at, ...path.map(({ key }) => key as string | number)], message)); // of maps and lists only
  return { output: success ? output : undefined, faults };
}

/** A key without a value is as good as none. */
function given(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(given);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).filter(([, inner]) => inner !== null).map(([key, inner]) => [key, given(inner)]));
}

function faultAt({ places }: ParsedDocument, path: Path, message: string): Fault {
  for (let length = path.length; length >= 0; length--) {
    const place = places.get(formatPath(path.slice(0, length)));
    if (place !== undefined) return { path, line: place.line, message };
  }
  return { path, line: 1, message };
}

function broken({ places, faults }: ParsedDocument, more: readonly Fault[]): ParsedDocument {
  return { value: undefined, places, faults: [...faults, ...more] };
}
