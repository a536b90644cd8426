/** What the state of an S3 assembly says: the segments that make up its bytes, in order. */
import { DriverError, type AssemblyState } from '../driver.ts';
import { checkKey } from '../key.ts';
import { partsOf } from './keys.ts';
import type { Piece } from './source.ts';

export interface Segment {
  /** `<attempt>/<number>`, below the assembly's parts. */
  readonly name: string;
  readonly size: number;
  readonly etag: string;
}

/** As JSON has it: name, size, ETag. */
type Written = readonly [string, number, string];

const NAME = /^[A-Za-z0-9]{1,32}\/[0-9]{5,8}$/;
const ETAG = /^[A-Za-z0-9-]{1,128}$/;

export function segmentName(attempt: string, number: number): string {
  return `${attempt}/${String(number).padStart(5, '0')}`;
}

export function s3State(prefix: string, segments: readonly Segment[]): AssemblyState {
  const parts: readonly Written[] | null = segments.length === 0 ? null : segments.map(({ name, size, etag }) => [name, size, etag]);
  return { prefix, offset: sizeOf(segments), parts };
}

/** @throws DriverError permanent, where the state is not one of ours */
export function segmentsOf(state: AssemblyState): Segment[] {
  checkKey(state.prefix);
  if (state.parts === null && state.offset === 0) return [];
  const parts: unknown = state.parts;
  const segments = Array.isArray(parts) && parts.every(isWritten) ? parts.map(([name, size, etag]) => ({ name, size, etag })) : [];
  if (segments.length === 0 || sizeOf(segments) !== state.offset) {
    throw new DriverError('permanent', `invalid assembly state of ${state.prefix}: ${JSON.stringify(state).slice(0, 200)}`);
  }
  return segments;
}

/** Where the segments stand, with the root. */
export function piecesOf(root: string, prefix: string, segments: readonly Segment[]): Piece[] {
  return segments.map(({ name, size, etag }) => ({ key: root + partsOf(prefix) + name, size, etag }));
}

export function sizeOf(segments: readonly { readonly size: number }[]): number {
  return segments.reduce((sum, { size }) => sum + size, 0);
}

function isWritten(value: unknown): value is Written {
  if (!Array.isArray(value) || value.length !== 3) return false;
  const [name, size, etag] = value as unknown[];
  return typeof name === 'string' && NAME.test(name) && Number.isSafeInteger(size) && (size as number) > 0 && typeof etag === 'string' && ETAG.test(etag);
}
