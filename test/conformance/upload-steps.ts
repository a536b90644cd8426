/** The requests of an upload session, as a client makes them one after the other. */
import { expect } from 'vitest';
import type { Answer, Body } from './client.ts';
import { location, withQuery, type Registry } from './registry.ts';

export const BINARY: Readonly<Record<string, string>> = { 'content-type': 'application/octet-stream' };

export interface UploadSteps {
  /** POST; expects 202 and gives the location. */
  readonly begin: (name: string, query?: string) => Promise<string>;
  /** PATCH, with a `Content-Range` where one is given. */
  readonly patch: (at: string, body: Body, range?: string) => Promise<Answer>;
  /** PUT with the digest of the whole, and the last chunk if there is one. */
  readonly close: (at: string, digest: string, body?: Body, headers?: Readonly<Record<string, string>>) => Promise<Answer>;
}

export function uploadSteps(registry: Registry): UploadSteps {
  return {
    async begin(name, query = '') {
      const answer = await registry.send('POST', `/v2/${name}/blobs/uploads/${query}`, { headers: { 'content-length': '0' } });
      expect(answer.status, answer.body.toString()).toBe(202);
      return location(answer);
    },
    patch: (at, body, range) =>
      registry.send('PATCH', at, { headers: { ...BINARY, ...(range === undefined ? {} : { 'content-range': range }) }, body }),
    close: (at, digest, body, headers = {}) =>
      registry.send('PUT', withQuery(at, { digest }), body === undefined ? { headers } : { headers: { ...BINARY, ...headers }, body }),
  };
}
