/**
 * Conditional requests: If-Match and If-None-Match against an entity tag (RFC 9110 section 13). Ranges have a
 * condition of their own, see `rangeStillValid`.
 */

/** What the preconditions of a request come to: go on, answer 304, or answer 412. */
export type Precondition = 'proceed' | 'not-modified' | 'failed';

export interface ConditionHeaders {
  readonly 'if-match'?: string | undefined;
  readonly 'if-none-match'?: string | undefined;
}

/**
 * Evaluates both conditions in the order of RFC 9110 section 13.2.2.
 * @param etag of the selected representation, with its quotes; undefined where there is none
 */
export function evaluateConditions(method: string, headers: ConditionHeaders, etag: string | undefined): Precondition {
  const match = headers['if-match'];
  if (match !== undefined && !listMatches(match, etag, 'strong')) return 'failed';
  const noneMatch = headers['if-none-match'];
  if (noneMatch === undefined || !listMatches(noneMatch, etag, 'weak')) return 'proceed';
  return method === 'GET' || method === 'HEAD' ? 'not-modified' : 'failed';
}

/** An entity tag; or, as Docker's clients may send, an ETag without its quotes. */
const ELEMENT = /\s*(?:(W\/)?"([\x21\x23-\x7e\x80-\xff]*)"|([^\s",*][^\s",]*))\s*(?:,|$)|\s*,/y;

/** `*` matches whatever exists. Of a malformed list, what stands before the fault counts. */
function listMatches(list: string, etag: string | undefined, comparison: 'strong' | 'weak'): boolean {
  if (etag === undefined) return false;
  if (list === etag || list.trim() === '*') return list !== etag || comparison === 'weak' || !isWeak(etag);
  if (comparison === 'strong' && isWeak(etag)) return false;
  const opaque = isWeak(etag) ? etag.slice(3, -1) : etag.slice(1, -1);
  ELEMENT.lastIndex = 0;
  for (let found = ELEMENT.exec(list); found !== null && found[0] !== ''; found = ELEMENT.exec(list)) {
    const [, weak, quoted, bare] = found;
    if ((quoted ?? bare) === opaque && (comparison === 'weak' || weak === undefined)) return true;
  }
  return false;
}

function isWeak(etag: string): boolean {
  return etag.startsWith('W/');
}
