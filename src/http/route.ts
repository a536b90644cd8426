/**
 * The table of endpoints: which path means what (distribution-spec "Endpoints"). Names contain slashes, so the
 * endpoint is found from the end of the path.
 */

export type Route =
  | { readonly kind: 'ping' | 'token' | 'healthz' | 'readyz' | 'metrics' | 'unknown' }
  /** `view`: the client's text in `/v2/<view>.view/_catalog`. */
  | { readonly kind: 'catalogue'; readonly view: string | undefined }
  | { readonly kind: 'manifest'; readonly name: string; readonly reference: string }
  | { readonly kind: 'blob'; readonly name: string; readonly digest: string }
  | { readonly kind: 'uploads'; readonly name: string }
  | { readonly kind: 'upload'; readonly name: string; readonly id: string }
  | { readonly kind: 'tags'; readonly name: string }
  | { readonly kind: 'referrers'; readonly name: string; readonly digest: string };

export type RouteKind = Route['kind'];

const V2 = '/v2/';
const FIXED: ReadonlyMap<string, Route> = new Map<string, Route>([
  ['/v2', { kind: 'ping' }],
  ['/v2/', { kind: 'ping' }],
  ['/v2/_catalog', { kind: 'catalogue', view: undefined }],
  ['/auth/token', { kind: 'token' }],
  ['/healthz', { kind: 'healthz' }],
  ['/readyz', { kind: 'readyz' }],
  ['/metrics', { kind: 'metrics' }],
]);
const UNKNOWN: Route = { kind: 'unknown' };

/** What a path (without its query, percent-decoded) asks for. Names and references are still the client's text. */
export function routeOf(path: string): Route {
  const fixed = FIXED.get(path);
  if (fixed !== undefined) return fixed;
  if (!path.startsWith(V2)) return UNKNOWN;
  const lastSlash = path.lastIndexOf('/');
  const last = path.slice(lastSlash + 1);
  if (last === '_catalog') {
    const view = path.slice(V2.length, lastSlash);
    return view.endsWith('.view') && !view.includes('/') ? { kind: 'catalogue', view: view.slice(0, -'.view'.length) } : UNKNOWN;
  }
  const noun = component(path, lastSlash);
  if (noun === undefined) return UNKNOWN;
  const name = path.slice(V2.length, noun.start - 1);
  switch (noun.text) {
    case 'manifests':
      return name === '' || last === '' ? UNKNOWN : { kind: 'manifest', name, reference: last };
    case 'blobs':
      if (name === '' || last === '') return UNKNOWN;
      return last === 'uploads' ? { kind: 'uploads', name } : { kind: 'blob', name, digest: last };
    case 'uploads': {
      const blobs = component(path, noun.start - 1);
      if (blobs?.text !== 'blobs') return UNKNOWN;
      const repository = path.slice(V2.length, blobs.start - 1);
      if (repository === '') return UNKNOWN;
      return last === '' ? { kind: 'uploads', name: repository } : { kind: 'upload', name: repository, id: last };
    }
    case 'tags':
      return name !== '' && last === 'list' ? { kind: 'tags', name } : UNKNOWN;
    case 'referrers':
      return name === '' || last === '' ? UNKNOWN : { kind: 'referrers', name, digest: last };
    default:
      return UNKNOWN;
  }
}

/** The path component that ends before `end`. */
function component(path: string, end: number): { readonly text: string; readonly start: number } | undefined {
  const slash = path.lastIndexOf('/', end - 1);
  return slash < V2.length - 1 ? undefined : { text: path.slice(slash + 1, end), start: slash + 1 };
}
