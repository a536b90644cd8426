/** Deletes: always of what the view itself holds; what a parent or upstream has is uncovered (DESIGN section 7). */
import type { Content } from '../content/content.ts';
import type { Repo } from '../content/keys.ts';
import type { Digest } from '../oci/digest.ts';
import { RegistryError } from '../oci/errors.ts';
import type { Name } from '../oci/name.ts';
import type { View } from '../views/views.ts';
import type { Stores } from './stores.ts';

export interface Deleter {
  /** @throws RegistryError MANIFEST_UNKNOWN where the view itself has no such tag */
  tag(view: View, name: Name, tag: string): Promise<void>;
  /** Its tags in this repository go with it. @throws RegistryError MANIFEST_UNKNOWN */
  manifest(view: View, name: Name, digest: Digest): Promise<void>;
  /** @throws RegistryError BLOB_UNKNOWN */
  blob(view: View, name: Name, digest: Digest): Promise<void>;
}

export function deleter(stores: Stores): Deleter {
  const contentOf = (view: View): Content => stores.of(view.uid).content;
  const repoOf = (view: View, name: Name): Repo => ({ view: view.uid, name });
  return {
    async tag(view, name, tag) {
      const content = contentOf(view);
      const repo = repoOf(view, name);
      if ((await content.manifests.tagged(repo, tag)) === undefined) {
        throw new RegistryError('MANIFEST_UNKNOWN', `the view ${view.id} itself has no ${name}:${tag} to delete`, { detail: { name, tag } });
      }
      await content.tags.remove(repo, tag);
    },

    async manifest(view, name, digest) {
      if (!(await contentOf(view).manifests.remove(repoOf(view, name), digest))) {
        throw new RegistryError('MANIFEST_UNKNOWN', `the view ${view.id} itself has no manifest ${name}@${digest} to delete`, { detail: { name, digest } });
      }
    },

    async blob(view, name, digest) {
      if (!(await contentOf(view).links.remove(repoOf(view, name), digest))) {
        throw new RegistryError('BLOB_UNKNOWN', `the view ${view.id} itself has no blob ${digest} in ${name} to delete`, { detail: { name, digest } });
      }
    },
  };
}
