/** One run: what was asked for, over a source and (but for a dry run) the content that it goes into. */
import type { Content } from '../content/content.ts';
import type { ViewUid } from '../content/keys.ts';
import type { Name } from '../oci/name.ts';
import { distribution } from './distribution.ts';
import { noCounts, type Counts, type MigrateEvent } from './events.ts';
import type { From } from './old-config.ts';
import { mover } from './move.ts';
import { SourceStore, type ReadableStore } from './source-store.ts';
import { surveyor } from './survey.ts';
import { verifier } from './verify.ts';
import { walk, type Handler } from './walk.ts';
import { zuulRegistry } from './zuul-registry.ts';

export interface RunOptions {
  readonly kind: From['kind'];
  readonly root: string;
  readonly store: ReadableStore;
  readonly mode:
    | { readonly kind: 'dry-run' }
    | { readonly kind: 'move'; readonly content: Content; readonly view: ViewUid; readonly overwrite: boolean }
    | { readonly kind: 'verify'; readonly content: Content; readonly view: ViewUid };
  readonly nameOf: (path: string) => { readonly name: Name } | { readonly problem: string };
  readonly wanted: (name: Name) => boolean;
  /** Blobs copied, or read back, at once. */
  readonly blobsAtOnce: number;
  readonly maxManifestBytes: number;
  readonly tell: (event: MigrateEvent) => void;
  readonly signal: AbortSignal;
}

/**
 * @returns what was found and done; `problems` of it were told
 * @throws SourceError where the source cannot be listed, a DriverError or RegistryError where the target fails, or the signal's reason
 */
export async function runMigration(options: RunOptions): Promise<Counts> {
  const { kind, root, mode, tell, signal, nameOf, wanted, maxManifestBytes, blobsAtOnce } = options;
  const counts = noCounts();
  const store = new SourceStore(options.store, signal);
  const old = kind === 'distribution' ? distribution(store, root) : zuulRegistry(store, root);
  const handlers = (): Handler => {
    switch (mode.kind) {
      case 'dry-run':
        return surveyor({ old, store, counts, tell, signal });
      case 'move':
        return mover({ old, store, counts, tell, signal, content: mode.content, view: mode.view, overwrite: mode.overwrite, copies: blobsAtOnce });
      case 'verify':
        return verifier({ counts, tell, signal, content: mode.content, view: mode.view, reads: blobsAtOnce });
    }
  };
  await walk({ old, root, store, nameOf, wanted, maxManifestBytes, counts, tell }, handlers());
  return counts;
}
