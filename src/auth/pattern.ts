/**
 * Patterns of names and views, as rules write them: text in which `*` stands for any run of characters, `/` included.
 * Matching takes no backtracking: the leftmost place of each part is as good as any other.
 */

/** Compile once, match often. */
export function compilePattern(pattern: string): (text: string) => boolean {
  const parts = pattern.split('*');
  const [head] = parts as [string, ...string[]]; // split gives at least one part
  if (parts.length === 1) return (text) => text === head;
  const tail = parts.at(-1) ?? '';
  const middle = parts.slice(1, -1).filter((part) => part !== '');
  if (middle.length === 0 && head === '' && tail === '') return () => true;
  return (text) => {
    const end = text.length - tail.length;
    if (!text.startsWith(head) || !text.endsWith(tail)) return false;
    let at = head.length;
    for (const part of middle) {
      const found = text.indexOf(part, at);
      if (found === -1) return false;
      at = found + part.length;
    }
    return at <= end;
  };
}

const NAME_CHARACTERS = /^[a-z0-9._:/[\]*-]+$/;
const VIEW_CHARACTERS = /^[a-z0-9*-]+$/;

/**
 * Why no canonical name can ever match `pattern`; undefined where one can. A rule that never applies is a mistake
 * which would otherwise show as a push that is refused, or worse, as one that is not.
 */
export function namePatternProblem(pattern: string): string | undefined {
  if (!NAME_CHARACTERS.test(pattern)) return 'expected a pattern of lower-case names such as "docker.io/org/*"';
  const slash = pattern.indexOf('/');
  const host = slash === -1 ? pattern : pattern.slice(0, slash);
  if (host.includes('*')) return undefined;
  if (slash === -1 || !(host.includes('.') || host.includes(':') || host === 'localhost')) {
    return `names begin with a registry host: expected a pattern such as "docker.io/${pattern.replace(/^\/+/, '')}"`;
  }
  const path = pattern.slice(slash + 1);
  const short = host === 'docker.io' && !path.includes('/') && !path.includes('*');
  return short ? `expected "docker.io/library/${path}", which is that image's whole name` : undefined;
}

/** Why no view id can ever match `pattern`; undefined where one can. */
export function viewPatternProblem(pattern: string): string | undefined {
  return VIEW_CHARACTERS.test(pattern) ? undefined : 'expected a view or a pattern of views such as "change-*"';
}
