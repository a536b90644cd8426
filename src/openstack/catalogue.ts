/** Where a service answers, out of the catalogue that comes with a token. */

export interface Endpoint {
  readonly interface: string;
  readonly region: string;
  readonly url: string;
}

export interface Service {
  readonly type: string;
  readonly endpoints: readonly Endpoint[];
}

export interface Wanted {
  readonly type: string;
  /** Undefined: the only one. */
  readonly region: string | undefined;
  readonly interface: string;
}

/**
 * The URL without a trailing slash, or what is wrong, in words that name what there is.
 */
export function endpointOf(catalogue: readonly Service[], wanted: Wanted): { readonly url: string } | { readonly problem: string } {
  const services = catalogue.filter(({ type }) => type === wanted.type);
  if (services.length === 0) {
    const types = listed(catalogue.map(({ type }) => type));
    return { problem: `the catalogue has no service of type ${wanted.type}; it has ${types === '' ? 'no service at all: is the project right?' : types}` };
  }
  const all = services.flatMap(({ endpoints }) => endpoints);
  const have = `regions: ${listed(all.map(({ region }) => region))}; interfaces: ${listed(all.map((e) => e.interface))}`;
  const offered = all.filter((e) => e.interface === wanted.interface);
  const fitting = wanted.region === undefined ? offered : offered.filter(({ region }) => region === wanted.region);
  const what = `the ${wanted.interface} endpoint of ${wanted.type}${wanted.region === undefined ? '' : ` in region ${JSON.stringify(wanted.region)}`}`;
  if (fitting.length === 0) return { problem: `the catalogue does not have ${what}; it has ${have}` };
  const regions = new Set(fitting.map(({ region }) => region));
  if (regions.size > 1) return { problem: `the catalogue has ${what} in several regions; expected region to be set, to one of ${listed([...regions])}` };
  const urls = [...new Set(fitting.map(({ url }) => url.replace(/\/+$/, '')))];
  const [url = ''] = urls;
  if (urls.length > 1) return { problem: `the catalogue has ${what} several times: ${listed(urls)}` };
  if (!/^https?:\/\//.test(url) || !URL.canParse(url)) return { problem: `the catalogue gives ${JSON.stringify(url)} as ${what}, which is not an http(s) URL` };
  return { url };
}

/** The URL of another account of the same Swift; some (Ceph) leave ours out of the catalogue. */
export function accountUrl(url: string, account: string): string {
  return url.endsWith('/v1') ? `${url}/${account}` : url.replace(/\/[^/]*$/, `/${account}`);
}

function listed(words: readonly string[]): string {
  return [...new Set(words)].join(', ');
}
