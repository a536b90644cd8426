/**
 * Opens an object for reading by asking for its beginning, not by HEAD: small ones are then read whole in one request,
 * and for large ones the first bytes cost as much as knowing the size.
 */
import type { Timers } from '../../workers/timers.ts';
import type { CallOptions, Source } from '../driver.ts';
import { truncated, type SwiftClient } from './client.ts';
import { corrupted, md5, type SwiftObjects } from './objects.ts';
import { SwiftSource } from './source.ts';
import { statOf } from './stat.ts';

export interface OpeningOptions extends CallOptions {
  readonly client: SwiftClient;
  readonly objects: SwiftObjects;
  readonly timers: Timers;
  readonly name: string;
  readonly what: string;
}

/** Held in memory for as long as an object is open. */
const HEAD_BYTES = 128 * 1024;

/** Twice, for the sake of an object that is being replaced (objects.ts). */
export async function openObject(options: OpeningOptions): Promise<Source | undefined> {
  return (await openOnce(options)) ?? (await openOnce(options));
}

async function openOnce({ client, objects, timers, name, what, signal }: OpeningOptions): Promise<Source | undefined> {
  const answer = await client.call({
    method: 'GET', name, what: `open ${what}`, signal, headers: { range: `bytes=0-${HEAD_BYTES - 1}` }, expect: [200, 206, 404, 416],
    verify: ({ status, header, body }) => {
      if (status === 206 && body.length !== Math.min(HEAD_BYTES, totalOf(header))) throw truncated(`open ${what}`);
      if (header('x-static-large-object') !== undefined || (status === 206 ? totalOf(header) !== body.length : status !== 200)) return;
      if (md5(body) !== unquoted(header('etag'))) throw corrupted(`open ${what}`);
    },
  });
  if (answer.status === 404) return undefined;
  if (answer.status === 416) {
    // There is no first byte.
    const stat = await objects.head({ name, what: `open ${what}`, signal });
    if (stat === undefined) return undefined;
    if (stat.size > 0) return await openObject({ client, objects, timers, name, what, signal }); // replaced meanwhile
    return new SwiftSource({ client, timers, what, stat, pieces: [] });
  }
  const { header, body } = answer;
  const stat = statOf(header, answer.status === 206 ? totalOf(header) : body.length);
  return new SwiftSource({ client, timers, what, stat, head: body, pieces: [{ name, size: stat.size, etag: header('etag') ?? '' }] });
}

function totalOf(header: (name: string) => string | undefined): number {
  return Number(header('content-range')?.split('/')[1]);
}

function unquoted(etag: string | undefined): string {
  return (etag ?? '').replaceAll('"', '');
}
