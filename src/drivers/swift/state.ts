/**
 * What the state of a Swift assembly says: the segments that make up its bytes, in order, or the bytes themselves where
 * they are few and nothing became a segment yet (PROTOCOL "Upload sessions": a tail is carried over to the next attempt).
 */
import { DriverError, type AssemblyState } from '../driver.ts';
import { checkKey } from '../key.ts';
import { readWritten, sizeOf, written, type Segment } from '../object-store/segments.ts';

export interface Gathered {
  readonly segments: readonly Segment[];
  /** Where there are no segments. */
  readonly inline: Buffer;
}

/** More bytes than this become a segment: the state is written with every request. */
export const INLINE_BYTES: number = 64 * 1024;

const MD5 = /^[0-9a-f]{32}$/;
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/;

export function stateOf(prefix: string, { segments, inline }: Gathered): AssemblyState {
  if (segments.length > 0) return { prefix, offset: sizeOf(segments), parts: written(segments) };
  return { prefix, offset: inline.length, parts: inline.length === 0 ? null : inline.toString('base64') };
}

/** @throws DriverError permanent, where the state is not one of ours */
export function gatheredOf(state: AssemblyState): Gathered {
  checkKey(state.prefix);
  const { parts, offset } = state;
  if (parts === null && offset === 0) return { segments: [], inline: Buffer.alloc(0) };
  if (typeof parts === 'string' && BASE64.test(parts)) {
    const inline = Buffer.from(parts, 'base64');
    if (inline.length === offset) return { segments: [], inline };
  }
  const segments = readWritten(parts, MD5, offset);
  if (segments !== undefined) return { segments, inline: Buffer.alloc(0) };
  throw new DriverError('permanent', `invalid assembly state of ${state.prefix}: ${JSON.stringify(state).slice(0, 200)}`);
}
