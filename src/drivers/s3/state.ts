/** What the state of an S3 assembly says: the segments that make up its bytes, in order. */
import { DriverError, type AssemblyState } from '../driver.ts';
import { checkKey } from '../key.ts';
import { readWritten, sizeOf, written, type Segment } from '../object-store/segments.ts';
import { partsOf } from './keys.ts';
import type { Piece } from './source.ts';

const ETAG = /^[A-Za-z0-9-]{1,128}$/;

export function s3State(prefix: string, segments: readonly Segment[]): AssemblyState {
  return { prefix, offset: sizeOf(segments), parts: segments.length === 0 ? null : written(segments) };
}

/** @throws DriverError permanent, where the state is not one of ours */
export function segmentsOf(state: AssemblyState): Segment[] {
  checkKey(state.prefix);
  if (state.parts === null && state.offset === 0) return [];
  const segments = readWritten(state.parts, ETAG, state.offset);
  if (segments === undefined) throw new DriverError('permanent', `invalid assembly state of ${state.prefix}: ${JSON.stringify(state).slice(0, 200)}`);
  return segments;
}

/** Where the segments stand, with the root. */
export function piecesOf(root: string, prefix: string, segments: readonly Segment[]): Piece[] {
  return segments.map(({ name, size, etag }) => ({ key: root + partsOf(prefix) + name, size, etag }));
}
