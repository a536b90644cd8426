/** Segments: the objects that bytes of an upload stand in, in order, as the state of its assembly names them. */

export interface Segment {
  /** `<attempt>/<number>`, below the assembly's own. */
  readonly name: string;
  readonly size: number;
  /** As the store has it: an MD5 in hex, on S3 perhaps another. */
  readonly etag: string;
}

/** As JSON has it: name, size, ETag. */
export type WrittenSegment = readonly [string, number, string];

const NAME = /^[A-Za-z0-9]{1,32}\/[0-9]{5,8}$/;

export function segmentName(attempt: string, number: number): string {
  return `${attempt}/${String(number).padStart(5, '0')}`;
}

export function sizeOf(segments: readonly { readonly size: number }[]): number {
  return segments.reduce((sum, { size }) => sum + size, 0);
}

export function written(segments: readonly Segment[]): readonly WrittenSegment[] {
  return segments.map(({ name, size, etag }) => [name, size, etag]);
}

/** What `written` made, one segment at least; undefined where it is something else, or they have not `size` bytes together. */
export function readWritten(parts: unknown, etags: RegExp, size: number): Segment[] | undefined {
  if (!Array.isArray(parts) || parts.length === 0) return undefined;
  const segments: Segment[] = [];
  for (const part of parts as unknown[]) {
    if (!Array.isArray(part) || part.length !== 3) return undefined;
    const [name, bytes, etag] = part as unknown[];
    if (typeof name !== 'string' || !NAME.test(name) || typeof etag !== 'string' || !etags.test(etag)) return undefined;
    if (typeof bytes !== 'number' || !Number.isSafeInteger(bytes) || bytes <= 0) return undefined;
    segments.push({ name, size: bytes, etag });
  }
  return sizeOf(segments) === size ? segments : undefined;
}
