/** Reads the Link header (RFC 8288 section 3) as far as pagination needs it: the target of `rel="next"`. */

const TARGET = /[ \t,]*<([^>]*)>/y;
const PARAM = /[ \t]*;[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]*)(?:[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s",;]*)))?/sy;

/** The target of the first link whose relations include `next`; it may be relative. */
export function nextLink(header: string | undefined): string | undefined {
  if (header === undefined) return undefined;
  let at = 0;
  const take = (pattern: RegExp): RegExpExecArray | undefined => {
    pattern.lastIndex = at;
    const match = pattern.exec(header);
    if (match === null) return undefined;
    at = pattern.lastIndex;
    return match;
  };
  for (let target = take(TARGET); target !== undefined; target = take(TARGET)) {
    let relations: string | undefined;
    for (let param = take(PARAM); param !== undefined; param = take(PARAM)) {
      // "The rel parameter MUST NOT appear more than once": occurrences after the first are ignored.
      if (param[1]?.toLowerCase() === 'rel') relations ??= param[2] ?? param[3] ?? '';
    }
    if (relations?.toLowerCase().split(/\s+/).includes('next') === true) return target[1];
  }
  return undefined;
}
