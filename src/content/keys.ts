/**
 * The storage tree, drawn. Only this file knows what a key looks like (DESIGN section 5, PROTOCOL "Keys").
 *
 *   blobs/<alg>/<2 hex>/<hex>/data/<generation>       bytes; the generation is the id of the upload or fill that wrote them
 *   blobs/<alg>/<2 hex>/<hex>/current                 the generation that new pushes share
 *   blobs/<alg>/<2 hex>/<hex>/by/<view>/<name>/<who>  back-reference; <who> = <manifest digest>.<incarnation>, or _<upload>
 *   blobs/<alg>/<2 hex>/<hex>/condemned               the collector means to remove these bytes
 *   blobs/<alg>/<2 hex>/<hex>/doomed/<generation>     …and will: irrevocable
 *   repos/<view>/<name>/_tags/<tag>                   TagRecord
 *   repos/<view>/<name>/_manifests/<alg>/<hex>        ManifestRecord
 *   repos/<view>/<name>/_blobs/<alg>/<hex>            LinkRecord: the right to read
 *   repos/<view>/<name>/_referrers/<alg>/<hex>/<alg>/<hex>   ReferrerRecord: subject, then the manifest that refers
 *   repos/<view>/<name>/_gone/<incarnation>           this incarnation of a manifest was deleted
 *   views/<view>/expired                              ExpiredRecord: which tags of the view are too old
 *   uploads/<id>/…                                    sessions of pushes and fills
 *   leases/fills/<alg>/<hex>                          which machine downloads a blob; written over, deleted, of no weight
 *   leases/fills/<alg>/<hex>.wanted.<holder>          somebody on another machine reads that download
 *   store/name                                        what the store is called in a database that decides its claims
 *
 * <view> is a view's uid, never used again; <name> is `host/path`. Names cannot hold a component that begins with `_`.
 */
import { algorithmOf, hexOf, isDigest, type Digest } from '../oci/digest.ts';
import type { Name } from '../oci/name.ts';

/** A view's identity in storage. Views of the configuration use their name; others carry a random part. */
export type ViewUid = string & { readonly __brand: 'ViewUid' };
/** One writing of one manifest; a deleted and re-pushed manifest is another incarnation. */
export type Incarnation = string & { readonly __brand: 'Incarnation' };
/** One writing of one blob's bytes. */
export type Generation = string & { readonly __brand: 'Generation' };

/** A repository: a name in a view. */
export interface Repo {
  readonly view: ViewUid;
  readonly name: Name;
}

const blob = (digest: Digest): string => {
  const hex = hexOf(digest);
  return `blobs/${algorithmOf(digest)}/${hex.slice(0, 2)}/${hex}`;
};
const repoKey = (repo: Repo): string => `repos/${repo.view}/${repo.name}`;
const split = (digest: Digest): string => `${algorithmOf(digest)}/${hexOf(digest)}`;

export const keys = {
  data: (digest: Digest, generation: Generation): string => `${blob(digest)}/data/${generation}`,
  /** Prefix of all generations. */
  generations: (digest: Digest): string => `${blob(digest)}/data/`,
  current: (digest: Digest): string => `${blob(digest)}/current`,
  condemned: (digest: Digest): string => `${blob(digest)}/condemned`,
  doomed: (digest: Digest, generation: Generation): string => `${blob(digest)}/doomed/${generation}`,
  backReference: (digest: Digest, repo: Repo, who: string): string => `${blob(digest)}/by/${repo.view}/${repo.name}/${who}`,
  tag: (repo: Repo, tag: string): string => `${repoKey(repo)}/_tags/${tag}`,
  tags: (repo: Repo): string => `${repoKey(repo)}/_tags/`,
  manifest: (repo: Repo, digest: Digest): string => `${repoKey(repo)}/_manifests/${split(digest)}`,
  manifests: (repo: Repo): string => `${repoKey(repo)}/_manifests/`,
  link: (repo: Repo, digest: Digest): string => `${repoKey(repo)}/_blobs/${split(digest)}`,
  referrer: (repo: Repo, subject: Digest, manifest: Digest): string => `${repoKey(repo)}/_referrers/${split(subject)}/${split(manifest)}`,
  referrers: (repo: Repo, subject: Digest): string => `${repoKey(repo)}/_referrers/${split(subject)}/`,
  gone: (repo: Repo, incarnation: Incarnation): string => `${repoKey(repo)}/_gone/${incarnation}`,
  /** Prefix of all that are gone. */
  allGone: (repo: Repo): string => `${repoKey(repo)}/_gone/`,
  /** Every key of a view's repositories. */
  repositories: (view: ViewUid): string => `repos/${view}/`,
  expired: (view: ViewUid): string => `views/${view}/expired`,
  upload: (id: string): string => `uploads/${id}`,
  uploadState: (id: string): string => `uploads/${id}/state`,
  uploadTouched: (id: string): string => `uploads/${id}/touched`,
  uploads: (): string => 'uploads/',
  storeName: (): string => 'store/name',
} as const;

/** A blob's digest, and the prefix of all keys that are the blob's. */
export function blobOfKey(key: string): { readonly digest: Digest; readonly prefix: string } | undefined {
  const [prefix, algorithm, lead, hex] = OF_BLOB.exec(key) ?? [];
  const text = `${algorithm}:${hex}`;
  return prefix !== undefined && isDigest(text) && lead === hexOf(text).slice(0, 2) ? { digest: text, prefix } : undefined;
}

/** Who needs the blob at this key of a back-reference. */
export function parseBackReference(key: string): { readonly digest: Digest; readonly repo: Repo; readonly who: string } | undefined {
  const of = blobOfKey(key);
  const [kind, view, ...rest] = of === undefined ? [] : key.slice(of.prefix.length).split('/');
  const who = rest.pop();
  if (of === undefined || kind !== 'by' || view === undefined || who === undefined || rest.length === 0) return undefined;
  return { digest: of.digest, repo: { view: view as ViewUid, name: rest.join('/') as Name }, who }; // written by `keys.backReference`
}

const OF_BLOB = /^blobs\/([a-z0-9]+)\/([0-9a-f]{2})\/([0-9a-f]+)\//;

/** `<who>` of a manifest's back-references. */
export function manifestReference(digest: Digest, incarnation: Incarnation): string {
  return `${digest}.${incarnation}`;
}

/** `<who>` of an upload, a mount or a fill. No component of a name begins with `_`: it cannot be taken for one. */
export function uploadReference(id: string): string {
  return `_${id}`;
}

/** The digest in a key that ends `<alg>/<hex>`, as under `_manifests/`, `_blobs/` and `_referrers/`. */
export function digestAtEnd(key: string): Digest | undefined {
  const [algorithm, hex] = key.split('/').slice(-2);
  const text = `${algorithm}:${hex}`;
  return isDigest(text) ? text : undefined;
}

/**
 * The digest that the bytes at a key must have, where it is the key of a blob's bytes: what stands there never changes
 * and may be cached. Undefined: a record.
 */
export function digestOfData(key: string): Digest | undefined {
  const [, algorithm, lead, hex] = DATA.exec(key) ?? [];
  const text = `${algorithm}:${hex}`;
  return isDigest(text) && lead === hexOf(text).slice(0, 2) ? text : undefined;
}

const DATA = /^blobs\/([a-z0-9]+)\/([0-9a-f]{2})\/([0-9a-f]+)\/data\/[^/]+$/;

/**
 * May decisions be made by a claim of this key? Not where content lives, which is written in an order that needs none
 * and is deleted all the time, nor where leases do, which are of no weight.
 */
export function isClaimable(key: string): boolean {
  return !UNCLAIMED.some((prefix) => key.startsWith(prefix)) && !EXPIRED.test(key);
}

/** Is it the key of a record that pulls read? Small, and of use to a node while the store is away. */
export function isRecord(key: string): boolean {
  return key.startsWith('repos/') || EXPIRED.test(key);
}

const UNCLAIMED: readonly string[] = ['blobs/', 'repos/', 'uploads/', 'leases/', 'store/'];
/** Written over; beside it, views may keep what is decided. */
const EXPIRED = /^views\/[^/]+\/expired$/;
