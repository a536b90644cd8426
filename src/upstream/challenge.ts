/**
 * Reads WWW-Authenticate (RFC 9110 section 11.6.1): one or several headers, each a list of challenges, each a scheme
 * with a token68 or with parameters. Which challenge to answer, and how, is `credentials.ts`.
 */

export interface Challenge {
  /** Lower case, e.g. `bearer`. */
  readonly scheme: string;
  readonly token68: string | undefined;
  /** Names in lower case; where one is repeated the first counts. */
  readonly params: ReadonlyMap<string, string>;
}

const SEPARATORS = /[ \t,]*/y;
const TOKEN = /[!#$%&'*+.^_`|~0-9A-Za-z-]+/y;
const SPACES = /[ \t]+/y;
const TOKEN68 = /[A-Za-z0-9._~+/-]+=*(?=[ \t]*(?:,|$))/y;
const EQUALS = /[ \t]*=[ \t]*/y;
const QUOTED = /"((?:[^"\\]|\\.)*)"/sy;
/** A token, or what sloppy registries send in its place: a URL without quotes. */
const BARE = /[^\s",]+/y;

/**
 * All challenges, in order. A list that breaks the grammar is read up to the break: registries are many, and the
 * challenge that we can answer mostly stands first.
 */
export function parseChallenges(header: string | readonly string[] | undefined): readonly Challenge[] {
  if (header === undefined) return [];
  return (typeof header === 'string' ? [header] : header).flatMap(parseList);
}

function parseList(text: string): readonly Challenge[] {
  const challenges: { scheme: string; token68: string | undefined; params: Map<string, string> }[] = [];
  let at = 0;
  const take = (pattern: RegExp): RegExpExecArray | undefined => {
    pattern.lastIndex = at;
    const match = pattern.exec(text);
    if (match === null) return undefined;
    at = pattern.lastIndex;
    return match;
  };
  for (;;) {
    take(SEPARATORS);
    const word = take(TOKEN)?.[0];
    if (word === undefined) return challenges;
    const current = challenges.at(-1);
    // After a comma only the `=` tells a parameter of this challenge from the scheme of the next.
    if (current !== undefined && take(EQUALS) !== undefined) {
      const value = take(QUOTED)?.[1]?.replace(/\\(.)/gs, '$1') ?? take(BARE)?.[0];
      if (value === undefined) return challenges;
      const name = word.toLowerCase();
      if (!current.params.has(name)) current.params.set(name, value);
      continue;
    }
    const token68 = take(SPACES) === undefined ? undefined : take(TOKEN68)?.[0];
    challenges.push({ scheme: word.toLowerCase(), token68, params: new Map() });
  }
}
