/**
 * The store of a zuul-registry, the same on every driver:
 *
 *   _local/blobs/<digest>/data              bytes of blobs and manifests; whoever knows a digest may read them
 *   _local/repos/<path>/manifests/<ref>     of a tag or a digest: a JSON map, media type → digest of the manifest
 *
 * A tag may hold several manifests there, one of each media type, of which some may be left over from earlier pushes.
 * Here it has one: an index where there is one, since those were preferred, and else the newest.
 */
import { isDigest, type Digest } from '../oci/digest.ts';
import { MEDIA_TYPES } from '../oci/manifest.ts';
import { isTag } from '../oci/name.ts';
import type { OldManifest, OldRegistry, OldTag } from './old-registry.ts';
import type { SourceStore } from './source-store.ts';

/** A map of as many media types as there are, and more. */
const MAX_RECORD_BYTES = 64 * 1024;
const INDEXES: ReadonlySet<string> = new Set([MEDIA_TYPES.ociIndex, MEDIA_TYPES.dockerList]);
const RECORDS = 'manifests';

/** @param root where the tree stands, ending in `/`: `_local/` */
export function zuulRegistry(store: SourceStore, root: string): OldRegistry {
  const records = (path: string): string => `${root}repos/${path}/${RECORDS}/`;
  const bytes = (digest: Digest): string => `${root}blobs/${digest}/data`;
  const ifThere = async (key: string): Promise<string | undefined> => ((await store.head(key)) === undefined ? undefined : key);

  async function* walk(folder: string, path: string): AsyncGenerator<string> {
    for await (const { name, leaf } of store.children(folder)) {
      if (leaf) continue;
      if (name === RECORDS && path !== '' && (await hasRecords(path))) yield path;
      yield* walk(`${folder}${name}/`, path === '' ? name : `${path}/${name}`);
    }
  }

  /** `manifests` may be a component of a name as well. */
  async function hasRecords(path: string): Promise<boolean> {
    for await (const { leaf } of store.children(records(path))) if (leaf) return true;
    return false;
  }

  /** @returns what is wrong with it, in words; undefined where there is no record */
  async function readRecord(path: string, ref: string): Promise<readonly OldManifest[] | string | undefined> {
    const text = (await store.get(`${records(path)}${ref}`, MAX_RECORD_BYTES))?.toString('utf8');
    if (text === undefined) return undefined;
    const parsed = parse(text);
    if (parsed === undefined) return 'its record is not a JSON map of digests';
    const all = Object.entries(parsed).flatMap(([mediaType, digest]) => (typeof digest === 'string' && isDigest(digest) ? [{ mediaType, digest }] : []));
    return all.length === 0 ? 'its record holds no digest' : all;
  }

  async function newestOf(candidates: readonly OldManifest[]): Promise<OldManifest | undefined> {
    const dated = await Promise.all(candidates.map(async (manifest) => ({ manifest, pushedMs: (await store.head(bytes(manifest.digest)))?.modifiedMs ?? 0 })));
    return dated.toSorted((a, b) => b.pushedMs - a.pushedMs)[0]?.manifest;
  }

  async function tag(path: string, name: string): Promise<OldTag | undefined> {
    const record = await readRecord(path, name);
    if (record === undefined) return undefined;
    if (typeof record === 'string') return { tag: name, broken: record };
    const indexes = record.filter(({ mediaType }) => INDEXES.has(mediaType));
    const chosen = await newestOf(indexes.length > 0 ? indexes : record);
    return chosen === undefined ? undefined : { tag: name, ...chosen };
  }

  return {
    repositories: () => walk(`${root}repos/`, ''),

    async *tags(path) {
      for await (const { name, leaf } of store.children(records(path))) {
        const found = leaf && isTag(name) ? await tag(path, name) : undefined;
        if (found !== undefined) yield found;
      }
    },

    tag,

    async *manifests(path) {
      for await (const { name, leaf } of store.children(records(path))) {
        const record = leaf ? await readRecord(path, name) : undefined;
        if (record !== undefined && typeof record !== 'string') yield* record;
      }
    },

    manifestKey: (_path, digest) => ifThere(bytes(digest)),
    blobKey: (_path, digest) => ifThere(bytes(digest)),

    async *layers() {
      // It keeps no account of which repository has which blob.
    },
  };
}

function parse(text: string): object | undefined {
  try {
    const parsed = JSON.parse(text) as unknown;
    return typeof parsed === 'object' && parsed !== null ? parsed : undefined;
  } catch {
    return undefined;
  }
}
