/**
 * The store of Docker Distribution 2.x (`registry/storage/paths.go` draws it), the same on every driver:
 *
 *   repositories/<path>/_manifests/revisions/<alg>/<hex>/link     the repository has this manifest
 *   repositories/<path>/_manifests/tags/<tag>/current/link        what the tag names
 *   repositories/<path>/_layers/<alg>/<hex>/link                  the repository may read this blob
 *   blobs/<alg>/<2 hex>/<hex>/data                                the bytes
 *
 * A link holds a digest as text. Media types are nowhere but in the manifests.
 */
import { algorithmOf, hexOf, isDigest, type Digest } from '../oci/digest.ts';
import type { OldRegistry, OldTag } from './old-registry.ts';
import type { SourceStore } from './source-store.ts';

/** More than any digest. */
const MAX_LINK_BYTES = 1024;

/** @param root where the tree stands, ending in `/`: `docker/registry/v2/` below the storage's own folder */
export function distribution(store: SourceStore, root: string): OldRegistry {
  const home = (path: string): string => `${root}repositories/${path}`;
  const split = (digest: Digest): string => `${algorithmOf(digest)}/${hexOf(digest)}`;
  const bytes = (digest: Digest): string => `${root}blobs/${algorithmOf(digest)}/${hexOf(digest).slice(0, 2)}/${hexOf(digest)}/data`;

  async function* walk(folder: string, path: string): AsyncGenerator<string> {
    let isRepository = false;
    const below: string[] = [];
    for await (const { name, leaf } of store.children(folder)) {
      // No component of a name begins with an underscore.
      if (name === '_manifests') isRepository = true;
      else if (!leaf && !name.startsWith('_')) below.push(name);
    }
    if (isRepository) yield path;
    for (const name of below) yield* walk(`${folder}${name}/`, path === '' ? name : `${path}/${name}`);
  }

  /** Folders named by digests: deleting removes a link and may leave its folder. */
  async function* digests(folder: string): AsyncGenerator<Digest> {
    for await (const { name: algorithm } of store.children(folder)) {
      for await (const { name: hex } of store.children(`${folder}${algorithm}/`)) {
        const digest = `${algorithm}:${hex}`;
        if (isDigest(digest)) yield digest;
      }
    }
  }

  async function tag(path: string, name: string): Promise<OldTag> {
    const key = `${home(path)}/_manifests/tags/${name}/current/link`;
    const text = (await store.get(key, MAX_LINK_BYTES))?.toString('utf8');
    if (text === undefined) return { tag: name, broken: 'it names nothing: its link is gone' };
    const digest = text.trim();
    if (!isDigest(digest)) return { tag: name, broken: `its link holds ${JSON.stringify(digest.slice(0, 80))}, which is no digest` };
    return { tag: name, digest, mediaType: '' };
  }

  return {
    repositories: () => walk(`${root}repositories/`, ''),

    async *tags(path) {
      for await (const { name } of store.children(`${home(path)}/_manifests/tags/`)) yield await tag(path, name);
    },

    tag,

    async *manifests(path) {
      for await (const digest of digests(`${home(path)}/_manifests/revisions/`)) yield { digest, mediaType: '' };
    },

    async manifestKey(path, digest) {
      return (await store.head(`${home(path)}/_manifests/revisions/${split(digest)}/link`)) === undefined ? undefined : bytes(digest);
    },

    async blobKey(path, digest) {
      return (await store.head(`${home(path)}/_layers/${split(digest)}/link`)) === undefined ? undefined : bytes(digest);
    },

    layers: (path) => digests(`${home(path)}/_layers/`),
  };
}
