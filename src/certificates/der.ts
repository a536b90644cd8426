/**
 * The few ASN.1 values that a certificate is made of, in DER (ITU-T X.690 sections 8 and 10), and the reading of what
 * one value holds. Knows nothing of certificates.
 */

const INTEGER = 0x02;
const BIT_STRING = 0x03;
const OCTET_STRING = 0x04;
const UTF8_STRING = 0x0c;
const UTC_TIME = 0x17;
const GENERALIZED_TIME = 0x18;
const SEQUENCE = 0x30;
const SET = 0x31;

/** One value: its tag, its length, `content`. */
export function value(tag: number, content: Buffer): Buffer {
  if (content.length < 0x80) return Buffer.concat([Buffer.from([tag, content.length]), content]);
  const length = Buffer.from(evenHex(content.length.toString(16)), 'hex');
  return Buffer.concat([Buffer.from([tag, 0x80 | length.length]), length, content]);
}

export const NULL: Buffer = Buffer.from([0x05, 0x00]);
export const TRUE: Buffer = Buffer.from([0x01, 0x01, 0xff]);

export function sequence(...parts: readonly Buffer[]): Buffer {
  return value(SEQUENCE, Buffer.concat(parts));
}

export function set(...parts: readonly Buffer[]): Buffer {
  return value(SET, Buffer.concat(parts));
}

/** @param magnitude of a number that is not negative, big-endian; at least one byte */
export function integer(magnitude: Buffer): Buffer {
  const first = magnitude.findIndex((byte) => byte !== 0);
  const short = first === -1 ? Buffer.from([0]) : magnitude.subarray(first);
  return value(INTEGER, (short[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.from([0]), short]) : short);
}

/** @param unused how many of the last byte's low bits do not count */
export function bits(bytes: Buffer, unused = 0): Buffer {
  return value(BIT_STRING, Buffer.concat([Buffer.from([unused]), bytes]));
}

export function octets(bytes: Buffer): Buffer {
  return value(OCTET_STRING, bytes);
}

export function utf8(text: string): Buffer {
  return value(UTF8_STRING, Buffer.from(text));
}

/** @param dotted e.g. `2.5.29.17` */
export function oid(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  return value(0x06, Buffer.from([first * 40 + second, ...rest.flatMap(base128)]));
}

/** Whole seconds; RFC 5280 section 4.1.2.5: two digits of the year before 2050, four from then on. */
export function time(ms: number): Buffer {
  const text = `${new Date(ms).toISOString().replace(/[-:T]|\..*/g, '')}Z`;
  return text < '2050' ? value(UTC_TIME, Buffer.from(text.slice(2))) : value(GENERALIZED_TIME, Buffer.from(text));
}

/** A tag of the context around `content`: `[number] EXPLICIT`, or of a constructed type `IMPLICIT`. */
export function tagged(number: number, content: Buffer): Buffer {
  return value(0xa0 | number, content);
}

/** The same of a simple type: `[number] IMPLICIT`. */
export function taggedSimple(number: number, content: Buffer): Buffer {
  return value(0x80 | number, content);
}

export interface Value {
  readonly tag: number;
  /** With tag and length. */
  readonly whole: Buffer;
  readonly content: Buffer;
}

/** The values that stand one after the other in `bytes`. @throws RangeError where they do not fill it */
export function* valuesOf(bytes: Buffer): Iterable<Value> {
  let at = 0;
  while (at < bytes.length) {
    const tag = bytes.readUInt8(at);
    const short = bytes.readUInt8(at + 1);
    const lengthBytes = short < 0x80 ? 0 : short & 0x7f;
    const length = lengthBytes === 0 ? short : bytes.readUIntBE(at + 2, lengthBytes);
    const begin = at + 2 + lengthBytes;
    const end = begin + length;
    if (end > bytes.length) throw new RangeError('a value is longer than what holds it');
    yield { tag, whole: bytes.subarray(at, end), content: bytes.subarray(begin, end) };
    at = end;
  }
}

function base128(number: number): readonly number[] {
  const groups = [number & 0x7f];
  for (let rest = number >>> 7; rest > 0; rest >>>= 7) groups.unshift((rest & 0x7f) | 0x80);
  return groups;
}

function evenHex(hex: string): string {
  return hex.length % 2 === 0 ? hex : `0${hex}`;
}
