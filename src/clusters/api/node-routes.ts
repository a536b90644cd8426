/** `POST /v1/bootstrap` and `POST /v1/nodes/<id>/renew`, which nodes ask with tokens and keys of their own. */
import type { IncomingMessage } from 'node:http';
import { MAX_BODY_BYTES } from '../../bootstrap-wire.ts';
import type { NodeEndpoints } from '../bootstrap/endpoints.ts';
import { BootstrapRefusal, type RefusalStatus } from '../bootstrap/refusal.ts';
import { notAllowed, type OpenResource } from './handler.ts';
import { ApiProblem, type ProblemKind } from './problem.ts';

const KINDS: Readonly<Record<RefusalStatus, ProblemKind>> = { 400: 'invalid', 401: 'unauthorized', 410: 'gone', 413: 'too large', 429: 'too many', 503: 'unavailable' };

/** @param clientOf the address of a request's client, behind proxies that are trusted */
export function nodeRoutes(endpoints: NodeEndpoints, clientOf: (req: IncomingMessage) => string): OpenResource {
  return async (x) => {
    const endpoint = endpoints.find(`/${x.path.join('/')}`);
    if (endpoint === undefined) return undefined;
    if (x.method !== 'POST') throw notAllowed('POST');
    try {
      const body = await endpoint({ text: await x.text(MAX_BODY_BYTES), authorization: x.header('authorization'), address: clientOf(x.req) });
      return { status: 200, headers: ['Cache-Control', 'no-store'], body };
    } catch (error) {
      if (!(error instanceof BootstrapRefusal)) throw error;
      const { status, message, retryAfterSeconds } = error;
      throw new ApiProblem(KINDS[status], message, { cause: error, headers: retryAfterSeconds === undefined ? [] : ['Retry-After', String(Math.max(1, Math.ceil(retryAfterSeconds)))] });
    }
  };
}
