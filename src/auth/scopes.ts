/**
 * Token scopes: `repository:<name>:<actions>` and `registry:catalog:*` (Docker's "Token Scope Documentation").
 * The name in a scope is the client's spelling; here it becomes a canonical one.
 */
import type { Action } from '../config/config.ts';
import { RegistryError } from '../oci/errors.ts';
import type { Name, ViewId } from '../oci/name.ts';
import { ACTION_BITS, tokenActionBits } from './action.ts';

/** What a spelling means at this listener; `registry/names.ts` knows. Throws RegistryError NAME_INVALID. */
export type ToName = (spelling: string) => { readonly name: Name; readonly view: ViewId | undefined };

export interface Scope {
  readonly kind: 'repository' | 'catalog';
  /** As the client wrote it. */
  readonly spelling: string;
  readonly name: Name;
  /** Where the spelling says one. */
  readonly view: ViewId | undefined;
  /** Bits of `action.ts`; 0 where it asks for nothing that we know. */
  readonly actions: number;
}

/** More than any client asks for at once, and a token of so many still fits in a header. */
const MAX_SCOPES = 64;
const SCOPE = /^([a-z0-9]+)(?:\([a-z0-9]+\))?:(.+):([a-zA-Z0-9*,_-]*)$/;

/**
 * @param texts the `scope` parameters; each may hold several scopes, separated by spaces
 * @returns one entry for each distinct spelling, in order; types of resources that we do not have are left out
 * @throws RegistryError PARAMETER_INVALID
 */
export function parseScopes(texts: readonly string[], toName: ToName): Scope[] {
  const words = texts.flatMap((text) => text.split(' ')).filter((word) => word !== '');
  if (words.length > MAX_SCOPES) throw new RegistryError('PARAMETER_INVALID', `${words.length} scopes: at most ${MAX_SCOPES} in one token`);
  const scopes = new Map<string, Scope>();
  for (const word of words) {
    const scope = parseScope(word, toName);
    if (scope === undefined) continue;
    const key = `${scope.kind}:${scope.spelling}`;
    scopes.set(key, { ...scope, actions: scope.actions | (scopes.get(key)?.actions ?? 0) });
  }
  return [...scopes.values()];
}

function parseScope(word: string, toName: ToName): Scope | undefined {
  const [, type, spelling, actions] = SCOPE.exec(word) ?? [];
  if (type === undefined || spelling === undefined || actions === undefined) {
    throw invalid(word, 'expected repository:<name>:<actions>');
  }
  // Plugins are images of their own class, written `repository(plugin)`: the same repositories.
  if (type === 'repository') {
    return { kind: 'repository', spelling, ...resolve(word, spelling, toName), actions: tokenActionBits(actions.split(',')) };
  }
  if (type === 'registry' && (spelling === 'catalog' || spelling.endsWith('.view/catalog'))) {
    return { kind: 'catalog', spelling, ...resolve(word, spelling, toName), actions: ACTION_BITS.pull };
  }
  return undefined;
}

function resolve(word: string, spelling: string, toName: ToName): { name: Name; view: ViewId | undefined } {
  try {
    const { name, view } = toName(spelling);
    return { name, view };
  } catch (error) {
    if (error instanceof RegistryError) throw invalid(word, error.message, error);
    throw error;
  }
}

/**
 * The scope that a client is to ask for. A name that an `ns` parameter completed is written with its host: the client
 * gives back the scope that it was told, but no `ns` with it.
 */
export function repositoryScope(action: Action, spelling: string, ns: string | undefined): string {
  const full = ns === undefined ? spelling : spelling.replace(/^([^/]+\.view\/)?/, (prefix) => `${prefix}${ns}/`);
  return `repository:${full}:${action === 'push' ? 'pull,push' : action}`;
}

function invalid(word: string, why: string, cause?: unknown): RegistryError {
  return new RegistryError('PARAMETER_INVALID', `invalid scope ${JSON.stringify(word.slice(0, 200))}: ${why}`, { cause });
}
