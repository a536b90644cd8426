/**
 * What Swift says of an object, in the words of the contract. Every write carries a nonce as a parameter of its
 * Content-Type, which answers, HEAD and listings all show: it is the object's stamp, known to the writer without another
 * call, and tells a writer whose answer was lost whether what stands there is its own.
 * Times are those of Last-Modified, to the second and rounded up, since the answer to a PUT has no other.
 */
import type { Stat } from '../driver.ts';

export type Headers = (name: string) => string | undefined;

export interface ListedObject {
  readonly name: string;
  /** Of an SLO: of all its segments. */
  readonly bytes: number;
  /** Of an SLO: of its manifest, not the ETag. */
  readonly hash: string;
  readonly content_type: string;
  /** UTC, without a zone, with microseconds. */
  readonly last_modified: string;
  readonly slo_etag?: string;
}

const NONCE = /;\s*u=([A-Za-z0-9_-]+)/;

export function contentType(nonce: string): string {
  return `application/octet-stream;u=${nonce}`;
}

export function nonceOf(header: Headers): string | undefined {
  return NONCE.exec(header('content-type') ?? '')?.[1];
}

/** @param size where the answer's Content-Length is not the object's */
export function statOf(header: Headers, size: number = Number(header('content-length'))): Stat {
  const modifiedMs = modifiedOf(header);
  return { size, modifiedMs, stamp: nonceOf(header) ?? stampOf(header('etag') ?? '', modifiedMs) };
}

export function modifiedOf(header: Headers): number {
  const ms = Date.parse(header('last-modified') ?? '');
  return Number.isFinite(ms) ? ms : Math.ceil(Number(header('x-timestamp') ?? 0)) * 1000;
}

export function listedStat(object: ListedObject): Stat {
  const modifiedMs = listedMs(object.last_modified);
  return { size: object.bytes, modifiedMs, stamp: NONCE.exec(object.content_type)?.[1] ?? stampOf(object.slo_etag ?? object.hash, modifiedMs) };
}

/** Rounded up as Last-Modified is. */
export function listedMs(lastModified: string): number {
  const [seconds = '', fraction = ''] = lastModified.replace(/Z$/, '').split('.');
  return Date.parse(`${seconds}Z`) + (Number(fraction) > 0 ? 1000 : 0);
}

/** Of what others wrote. */
function stampOf(etag: string, modifiedMs: number): string {
  return `${etag.replaceAll('"', '')}@${modifiedMs}`;
}

/** As a condition takes it. */
export function quoted(etag: string): string {
  return etag.startsWith('"') ? etag : `"${etag}"`;
}
