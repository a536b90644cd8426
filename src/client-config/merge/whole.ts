/** A file of its own for us: nobody else writes there. */
import type { Change, ServiceNeed } from '../change.ts';
import { Refused } from '../request.ts';

export interface WholeFile {
  readonly path: string;
  readonly content: string;
  readonly secret?: boolean;
  readonly needs?: ServiceNeed;
}

export function wholeFile({ path, content, secret = false, needs }: WholeFile): Change {
  return {
    path,
    mode: secret ? 0o600 : 0o644,
    how: 'whole',
    content,
    secret,
    inHome: false,
    needs,
    merge(text) {
      // Written by hand after what we print, perhaps: then it is not ours to take away either.
      if (text !== undefined && text !== content) throw new Refused(`${path} is there already and not ours: move it away, or see what of it is wanted (umbra client-config --for … prints ours)`);
      return { text: content, undo: { kind: 'whole' } };
    },
  };
}
