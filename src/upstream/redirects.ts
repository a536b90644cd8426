/**
 * Follows redirects by hand, because undici's own follower knows neither rule that matters here: credentials stay with
 * the origin they were meant for, and a secure question is never answered in the clear.
 */
import { headerOf, type Answer } from '../drivers/exchange.ts';
import type { Request } from './transport.ts';

export interface Authorized extends Request {
  /** Sent to the origin of `url` only, and no more once a redirect led away from there. */
  readonly authorization: string | undefined;
}

export interface Followed extends Answer {
  /** The answer came by way of another origin than the one asked, and so without our credentials. */
  readonly elsewhere: boolean;
}

/** Names at most the host of the target: signed URLs are secrets. */
export class RedirectError extends Error {
  override readonly name = 'RedirectError';
}

const MAX_REDIRECTS = 5;
const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

/** @throws RedirectError, and whatever `send` rejects with */
export async function follow(request: Authorized, send: (request: Request) => Promise<Answer>): Promise<Followed> {
  const home = request.url.origin;
  const { authorization } = request;
  let { url } = request;
  let elsewhere = false;
  for (let hops = 0; ; hops++) {
    const headers = elsewhere || authorization === undefined ? request.headers : { ...request.headers, authorization };
    const answer = await send({ method: request.method, url, headers });
    if (!REDIRECTS.has(answer.status)) return { ...answer, elsewhere };
    answer.body.discard();
    if (hops === MAX_REDIRECTS) throw new RedirectError(`redirected more than ${MAX_REDIRECTS} times`);
    url = target(headerOf(answer.headers, 'location'), url);
    elsewhere ||= url.origin !== home;
  }
}

function target(location: string | undefined, from: URL): URL {
  if (location === undefined) throw new RedirectError('redirected without a Location');
  if (!URL.canParse(location, from)) throw new RedirectError('redirected to something that is not a URL');
  const url = new URL(location, from);
  if (url.protocol !== 'https:' && url.protocol !== 'http:') throw new RedirectError(`redirected to ${url.protocol}, not to http or https`);
  if (from.protocol === 'https:' && url.protocol === 'http:') throw new RedirectError(`redirected from https to plain http://${url.host}`);
  return url;
}
