/**
 * What is to become of one file of a machine. A change knows how to be merged into what stands there, and says how it
 * is taken out again; who reads and writes the files is `machine/`.
 */
import type { ClientName, Request } from './request.ts';

export interface Change {
  /** Absolute. */
  readonly path: string;
  /** Of the file where there is none yet. */
  readonly mode: number;
  /** `whole`: the file is ours alone. Else other people's words may stand in it too. */
  readonly how: 'whole' | 'json' | 'toml';
  /** The file, where there is none yet. */
  readonly content: string;
  /** It holds a password: nobody but its owner may read it. */
  readonly secret: boolean;
  /** It lies in the home of whom the login is for: it is theirs. */
  readonly inHome: boolean;
  /** Who must be told, if the file changes. */
  readonly needs: ServiceNeed | undefined;
  /**
   * @param text the file without anything of ours; undefined where there is none
   * @throws Refused where that would change what is somebody else's
   */
  readonly merge: (text: string | undefined) => Merged;
}

export interface Merged {
  readonly text: string;
  readonly undo: Undo;
}

/** How our part is told from what others wrote, should they have written since. */
export type Undo =
  /** The file is ours. */
  | { readonly kind: 'whole' }
  /** Each `is` stands in the place of a `was`. */
  | { readonly kind: 'text'; readonly swaps: readonly { readonly was: string; readonly is: string }[] }
  | { readonly kind: 'json'; readonly lists: readonly JsonListUndo[]; readonly sets: readonly JsonSetUndo[] };

/** Strings that we put into a list. */
export interface JsonListUndo {
  readonly key: string;
  readonly values: readonly string[];
  /** The list is there for our sake. */
  readonly made: boolean;
}

/** A value that we put at a path; of the objects on the way, the last `made` are there for our sake. */
export interface JsonSetUndo {
  readonly path: readonly string[];
  readonly value: unknown;
  readonly made: number;
}

export interface ServiceNeed {
  /** Its systemd unit. */
  readonly service: 'docker' | 'containerd' | 'crio' | 'buildkit';
  readonly action: 'restart' | 'reload';
  readonly why: string;
  /** The unit itself changes. */
  readonly unit?: boolean;
}

export interface ClientPlan {
  readonly changes: readonly Change[];
  /** What the user should know. */
  readonly notes: readonly string[];
}

export type ClientConfig = (request: Request) => ClientPlan;
export type { ClientName };
