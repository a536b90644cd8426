/**
 * Sending a client to the object store for the bytes of a blob, where the configuration says that it can reach it.
 * Whoever has such a URL can read the blob for some minutes: it stands in `Location`, never in a log or an error.
 */
import type { Redirect } from '../config/config.ts';
import type { Repo } from '../content/keys.ts';
import type { Stored } from '../content/blobs.ts';
import type { Digest } from '../oci/digest.ts';
import type { Stores } from '../registry/stores.ts';
import { baseUrlOf, clientAddress, trustedProxies, type TrustedProxies } from './client-address.ts';
import type { Exchange } from './exchange.ts';
import { rangeStillValid } from './ranges.ts';

export interface Redirects {
  /** Where to send the client that asks for this blob; undefined: it is served from here. */
  of(x: Exchange, repo: Repo, digest: Digest, stored: Stored): Promise<string | undefined>;
}

/** A smaller blob is here sooner than the client gets elsewhere. */
const WORTH_IT_BYTES = 1024 * 1024;

/** @param redirect of the store that a repository's blobs are in */
export function redirects(stores: Stores, redirect: (repo: Repo) => Redirect, proxies: TrustedProxies): Redirects {
  const networks = new Map<readonly string[], TrustedProxies>();

  function mayReach(whom: Redirect, client: string): boolean {
    if (whom === 'never' || whom === 'always') return whom === 'always';
    const known = networks.get(whom) ?? trustedProxies(whom);
    networks.set(whom, known);
    return known.trusts(client);
  }

  return {
    async of(x, repo, digest, stored) {
      const whom = redirect(repo);
      if (whom === 'never' || stored.size < WORTH_IT_BYTES || !isPlain(x, digest) || !mayReach(whom, clientAddress(x.req, proxies))) return undefined;
      // A store that cannot say now is asked again for the bytes, and may have them.
      const location = await stores.of(repo.view).content.blobs.location(digest, stored).catch(() => undefined);
      return location !== undefined && isFollowed(x, new URL(location), proxies) ? location : undefined;
    },
  };
}

/** What a store would answer as we do: the whole, or one range. The client repeats its headers there, whose ETags differ from ours. */
function isPlain(x: Exchange, digest: Digest): boolean {
  const range = x.header('range');
  if (x.header('if-match') !== undefined || x.header('if-unmodified-since') !== undefined) return false;
  return range === undefined || (/^bytes=\d+-\d*$/.test(range) && rangeStillValid(x.header('if-range'), `"${digest}"`));
}

function isFollowed(x: Exchange, location: URL, proxies: TrustedProxies): boolean {
  const ours = new URL(x.listener.publicUrl ?? baseUrlOf(x.req, proxies));
  if (ours.protocol === 'https:' && location.protocol !== 'https:') return false;
  // Clients take a token along to another port of the same host, and S3 refuses those who show two kinds of proof.
  return x.header('authorization') === undefined || location.hostname !== ours.hostname;
}
