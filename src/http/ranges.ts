/**
 * Byte ranges: which parts of a blob a GET asks for (RFC 9110 section 14) and where an upload's chunk belongs
 * (distribution-spec 1.1, "Pushing a blob in chunks"). Knows nothing of bodies or responses.
 */
import type { ByteRange } from '../drivers/driver.ts';
import { RegistryError } from '../oci/errors.ts';

/** What to answer: 200 with everything, 206 with these parts, or 416. */
export type RangeChoice =
  | { readonly kind: 'whole' }
  /** At least one; more than one only where more than one was asked for. They never overlap. */
  | { readonly kind: 'parts'; readonly parts: readonly ByteRange[] }
  | { readonly kind: 'unsatisfiable' };

/**
 * The most ranges one request may ask for: podman's partial pulls ask for up to 1024. A request for more gets the
 * whole (RFC 9110 section 14.2 lets a server ignore the field), which every client can take apart itself.
 */
const MAX_RANGES = 1024;
const WHOLE: RangeChoice = { kind: 'whole' };
const UNSATISFIABLE: RangeChoice = { kind: 'unsatisfiable' };
const SPEC = /^(\d*)-(\d*)$/;

/**
 * Reads a Range header against a representation of `size` bytes. Absent or of an unknown unit: whole.
 * Ranges apart from each other are kept in the order asked for, one part each: containers/image counts the parts.
 * Overlapping ones are merged, so an answer is never larger than the blob.
 * @throws RegistryError RANGE_INVALID where it is malformed: a client that means a part should not get the whole unasked
 */
export function chooseRanges(header: string | undefined, size: number): RangeChoice {
  if (header === undefined) return WHOLE;
  const equals = header.indexOf('=');
  if (equals < 0 || header.slice(0, equals).trim().toLowerCase() !== 'bytes') return WHOLE;
  const asked: ByteRange[] = [];
  let specs = 0;
  for (const element of header.slice(equals + 1).split(',')) {
    const spec = element.trim();
    if (spec === '') continue; // RFC 9110 section 5.6.1.2: recipients accept empty list elements
    specs += 1;
    if (specs > MAX_RANGES) return WHOLE;
    const range = readSpec(spec, size);
    if (range === 'malformed') throw malformed(header);
    if (range !== undefined) asked.push(range);
  }
  if (specs === 0) throw malformed(header);
  if (asked.length === 0) return UNSATISFIABLE;
  // Nothing can be said of zero bytes in a Content-Range: a satisfiable range of an empty blob is the blob.
  return size === 0 ? WHOLE : { kind: 'parts', parts: withoutOverlaps(asked) };
}

function malformed(header: string): RegistryError {
  return new RegistryError('RANGE_INVALID', `invalid Range ${JSON.stringify(header.slice(0, 100))}: expected bytes=<first>-<last>, both inclusive`);
}

/** One range-spec clipped to the representation; undefined where it lies outside. */
function readSpec(spec: string, size: number): ByteRange | undefined | 'malformed' {
  const [, first, last] = SPEC.exec(spec) ?? [];
  if (first === undefined || last === undefined || (first === '' && last === '')) return 'malformed';
  if (first === '') {
    const suffix = Number(last); // beyond 2^53 it only has to stay large
    return suffix === 0 ? undefined : { start: Math.max(0, size - suffix), end: size - 1 };
  }
  if (last !== '' && BigInt(last) < BigInt(first)) return 'malformed';
  const start = Number(first);
  return start >= size ? undefined : { start, end: last === '' ? size - 1 : Math.min(Number(last), size - 1) };
}

function withoutOverlaps(asked: readonly ByteRange[]): readonly ByteRange[] {
  const sorted = asked.toSorted((a, b) => a.start - b.start);
  const merged: { start: number; end: number }[] = [];
  for (const range of sorted) {
    const last = merged.at(-1);
    if (last !== undefined && range.start <= last.end) last.end = Math.max(last.end, range.end);
    else merged.push({ ...range });
  }
  return merged.length === asked.length ? asked : merged;
}

/**
 * Whether a Range header counts beside this If-Range (RFC 9110 section 13.1.5): only if it names the current strong
 * ETag. A date never does, because we send no Last-Modified.
 */
export function rangeStillValid(ifRange: string | undefined, etag: string): boolean {
  return ifRange === undefined || (ifRange.trim() === etag && etag.startsWith('"'));
}

/** The Content-Range header of a 206. */
export function contentRange(range: ByteRange, size: number): string {
  return `bytes ${range.start}-${range.end}/${size}`;
}

/** The Content-Range header of a 416. */
export function unsatisfiedRange(size: number): string {
  return `bytes */${size}`;
}

const UPLOAD_RANGE = /^(?:bytes[ =])?(\d{1,16})-(\d{1,16})(?:\/(?:\d{1,16}|\*))?$/i;

/**
 * The Content-Range of an upload's PATCH or PUT: `<start>-<end>`, both inclusive. The unit and the complete length that
 * HTTP has there are accepted and not needed.
 * @throws RegistryError PARAMETER_INVALID
 */
export function parseUploadRange(header: string): ByteRange {
  const [, first, last] = UPLOAD_RANGE.exec(header.trim()) ?? [];
  const start = Number(first);
  const end = Number(last);
  if (first === undefined || !Number.isSafeInteger(start) || !Number.isSafeInteger(end) || end < start) {
    throw new RegistryError('PARAMETER_INVALID', `invalid Content-Range ${JSON.stringify(header.slice(0, 100))}: expected <start>-<end>, both inclusive`);
  }
  return { start, end };
}
