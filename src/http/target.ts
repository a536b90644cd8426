/** What a request under `/v2/<name>/` is about: the canonical name, the view, and the client's own spelling of both. */
import type { Entrance } from '../registry/names.ts';
import type { Name } from '../oci/name.ts';
import type { View } from '../views/views.ts';

export interface Target {
  readonly name: Name;
  readonly view: View;
  readonly entrance: Entrance;
  /** The user who asks, for records; undefined for anonymous. */
  readonly by: string | undefined;
}

/** A path below the repository, as this client spells it: for Location headers. */
export function locationOf({ entrance }: Target, rest: string): string {
  const path = `/v2/${entrance.spelling}/${rest}`;
  return entrance.ns === undefined ? path : `${path}?ns=${encodeURIComponent(entrance.ns)}`;
}
