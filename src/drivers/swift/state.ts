/**
 * What the state of a Swift assembly says: the segments that make up its bytes, in order, or the bytes themselves where
 * they are few and nothing became a segment yet (PROTOCOL "Upload sessions": a tail is carried over to the next attempt).
 */
import { DriverError, type AssemblyState } from '../driver.ts';
import { checkKey } from '../key.ts';

export interface Segment {
  /** `<attempt>/<number>`, below the assembly's segments. */
  readonly name: string;
  readonly size: number;
  /** Its MD5, in hex. */
  readonly etag: string;
}

export interface Gathered {
  readonly segments: readonly Segment[];
  /** Where there are no segments. */
  readonly inline: Buffer;
}

/** As JSON has it: name, size, ETag; or the bytes in base64. */
type Written = readonly [string, number, string];

/** More bytes than this become a segment: the state is written with every request. */
export const INLINE_BYTES: number = 64 * 1024;

const NAME = /^[A-Za-z0-9]{1,32}\/[0-9]{5,8}$/;
const ETAG = /^[0-9a-f]{32}$/;
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/;

export function segmentName(attempt: string, number: number): string {
  return `${attempt}/${String(number).padStart(5, '0')}`;
}

export function stateOf(prefix: string, { segments, inline }: Gathered): AssemblyState {
  if (segments.length > 0) return { prefix, offset: sizeOf(segments), parts: segments.map(({ name, size, etag }): Written => [name, size, etag]) };
  return { prefix, offset: inline.length, parts: inline.length === 0 ? null : inline.toString('base64') };
}

/** @throws DriverError permanent, where the state is not one of ours */
export function gatheredOf(state: AssemblyState): Gathered {
  checkKey(state.prefix);
  const parts: unknown = state.parts;
  if (parts === null && state.offset === 0) return { segments: [], inline: Buffer.alloc(0) };
  if (typeof parts === 'string' && BASE64.test(parts)) {
    const inline = Buffer.from(parts, 'base64');
    if (inline.length === state.offset) return { segments: [], inline };
  } else if (Array.isArray(parts) && parts.length > 0 && parts.every(isWritten)) {
    const segments = parts.map(([name, size, etag]) => ({ name, size, etag }));
    if (sizeOf(segments) === state.offset) return { segments, inline: Buffer.alloc(0) };
  }
  throw new DriverError('permanent', `invalid assembly state of ${state.prefix}: ${JSON.stringify(state).slice(0, 200)}`);
}

export function sizeOf(segments: readonly { readonly size: number }[]): number {
  return segments.reduce((sum, { size }) => sum + size, 0);
}

function isWritten(value: unknown): value is Written {
  if (!Array.isArray(value) || value.length !== 3) return false;
  const [name, size, etag] = value as unknown[];
  return typeof name === 'string' && NAME.test(name) && Number.isSafeInteger(size) && (size as number) > 0 && typeof etag === 'string' && ETAG.test(etag);
}
