/**
 * Views: named sets of repositories with an ordered list of parents (DESIGN section 7). Here are those of the
 * configuration; a view that comes and goes is another source of the same type.
 */
import type { ViewUid } from '../content/keys.ts';
import type { ViewConfig } from '../config/config.ts';
import type { ViewId } from '../oci/name.ts';

export interface View {
  readonly id: ViewId;
  readonly uid: ViewUid;
  readonly parents: readonly ViewId[];
}

export interface Views {
  find(id: ViewId): View | undefined;
  /** The view, then its parents, depth first in order, each once. */
  walk(view: View): readonly View[];
  /** The pull-through cache. */
  readonly upstream: View;
  /** What a curated import let in. */
  readonly approved: View;
}

const id = (text: string): ViewId => text as ViewId; // literals below are valid labels

/** `main`, `upstream` and `approved` always exist; their uids, like those of all configured views, are their names. */
export function configuredViews(define: readonly ViewConfig[]): Views {
  const all = new Map<ViewId, View>();
  for (const view of [{ id: id('main'), parents: [] }, { id: id('upstream'), parents: [] }, { id: id('approved'), parents: [] }, ...define]) {
    // A dynamic view's uid holds a '.', which no id does: a view defined here never meets one that came and went.
    all.set(view.id, { id: view.id, uid: view.id as string as ViewUid, parents: view.parents });
  }
  const walks = new Map<ViewId, readonly View[]>();
  const must = (wanted: ViewId): View => {
    const view = all.get(wanted);
    if (view === undefined) throw new Error(`view ${wanted} is not defined`);
    return view;
  };
  const collect = (view: View, into: Set<View>): Set<View> => {
    if (into.has(view)) return into;
    into.add(view);
    for (const parent of view.parents) collect(must(parent), into);
    return into;
  };
  return {
    find: (wanted) => all.get(wanted),
    walk(view) {
      let walk = walks.get(view.id);
      if (walk === undefined) {
        walk = [...collect(view, new Set())];
        walks.set(view.id, walk);
      }
      return walk;
    },
    upstream: must(id('upstream')),
    approved: must(id('approved')),
  };
}
