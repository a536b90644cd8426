/** The body of an answer with several ranges: `multipart/byteranges` (RFC 9110 section 14.6), its length known beforehand. */
import type { ByteRange } from '../drivers/driver.ts';
import { contentRange } from './ranges.ts';

/** A body made of literal bytes and of ranges of one source, in order. */
export type Section = Uint8Array | ByteRange;

export interface Multipart {
  readonly contentType: string;
  readonly contentLength: number;
  readonly sections: readonly Section[];
}

/**
 * @param size bytes of the whole representation
 * @param contentType of each part
 * @param boundary random, so that nobody can make a blob that contains it: 1 to 70 of [0-9a-zA-Z]
 */
export function multipart(parts: readonly ByteRange[], size: number, contentType: string, boundary: string): Multipart {
  const sections: Section[] = [];
  for (const [index, part] of parts.entries()) {
    const fields = `Content-Type: ${contentType}\r\nContent-Range: ${contentRange(part, size)}`;
    sections.push(Buffer.from(`${index === 0 ? '' : '\r\n'}--${boundary}\r\n${fields}\r\n\r\n`, 'latin1'), part);
  }
  sections.push(Buffer.from(`\r\n--${boundary}--\r\n`, 'latin1'));
  return {
    contentType: `multipart/byteranges; boundary=${boundary}`,
    contentLength: sections.reduce((sum, section) => sum + sectionLength(section), 0),
    sections,
  };
}

export function sectionLength(section: Section): number {
  return section instanceof Uint8Array ? section.length : section.end - section.start + 1;
}
