/**
 * A cloud out of `clouds.yaml`, found and put together as openstacksdk does: the first file that can be read, `secure.yaml`
 * over it, a profile of `clouds-public.yaml` below it, and the values of one region. Says where, never what a secret is.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface CloudSurroundings {
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** YAML 1.1 as plain values; JSON is YAML. Throws with a message that repeats nothing of the text. */
  readonly parse: (text: string) => unknown;
  /** Default: /etc/openstack. */
  readonly siteFolder?: string;
}

/** Keys with `_`, never `-`. */
export interface Dictionary {
  readonly [key: string]: unknown;
}

export interface Cloud {
  readonly name: string;
  /** The file that has it. */
  readonly path: string;
  readonly values: Dictionary;
  readonly region: string | undefined;
}

const SUFFIXES = ['.yaml', '.yml', '.json'];

/**
 * @param region undefined: the first that the cloud names
 * @throws Error that says what was looked for, and where
 */
export function readCloud(name: string, region: string | undefined, surroundings: CloudSurroundings): Cloud {
  const { env } = surroundings;
  const file = readFirst('clouds', env['OS_CLIENT_CONFIG_FILE'], surroundings);
  if (file === undefined) throw new Error(`there is no clouds.yaml that can be read in ${foldersOf(surroundings).join(', ')} (or where OS_CLIENT_CONFIG_FILE says)`);
  const secure = readFirst('secure', env['OS_CLIENT_SECURE_FILE'], surroundings);
  const clouds = dictionary(dictionary(merged(file.value, secure?.value ?? {}))['clouds']);
  const own = clouds[name];
  if (own === undefined) throw new Error(`${file.path} has no cloud ${JSON.stringify(name)}; it has ${Object.keys(clouds).join(', ') || 'none'}`);
  const cloud = normalized(own);
  const profile = cloud['profile'] ?? cloud['cloud'];
  const base = typeof profile === 'string' ? profileNamed(profile, surroundings) : undefined;
  const whole = base === undefined ? cloud : dictionary(merged(base, cloud));
  const chosen = regionOf(whole, region, `the cloud ${JSON.stringify(name)} in ${file.path}`);
  const values = chosen.values === undefined ? whole : dictionary(merged(whole, chosen.values));
  return { name, path: file.path, values: withRegionInUrl(values, chosen.name), region: chosen.name };
}

function foldersOf({ cwd, env, siteFolder = '/etc/openstack' }: CloudSurroundings): readonly string[] {
  const { HOME: home, XDG_CONFIG_HOME: xdg } = env;
  const own = [xdg, home === undefined ? undefined : join(home, '.config')].filter((folder) => folder !== undefined && folder !== '');
  return [...new Set([cwd, ...own.map((folder) => join(folder ?? '', 'openstack')), siteFolder])];
}

/** What openstacksdk cannot open it passes over; what it can open and not understand is an error. */
function readFirst(stem: string, override: string | undefined, surroundings: CloudSurroundings): { readonly path: string; readonly value: unknown } | undefined {
  const usual = foldersOf(surroundings).flatMap((folder) => SUFFIXES.map((suffix) => join(folder, `${stem}${suffix}`)));
  for (const path of override === undefined || override === '' ? usual : [override, ...usual]) {
    let text: string;
    try {
      text = readFileSync(path, 'utf8');
    } catch {
      continue;
    }
    try {
      return { path, value: surroundings.parse(text) };
    } catch (cause) {
      throw new Error(`${path} cannot be understood: ${(cause as Error).message}`, { cause }); // parse throws nothing else
    }
  }
  return undefined;
}

function profileNamed(name: string, surroundings: CloudSurroundings): Dictionary | undefined {
  const file = readFirst('clouds-public', undefined, surroundings);
  const profile = dictionary(dictionary(file?.value)['public-clouds'])[name];
  return profile === undefined ? undefined : normalized(profile);
}

/** `regions: [one, { name: two, values: {…} }]`, or `region_name: one`. */
function regionOf(cloud: Dictionary, wanted: string | undefined, where: string): { readonly name: string | undefined; readonly values?: Dictionary } {
  const { regions, region_name: named } = cloud as { readonly regions?: unknown; readonly region_name?: unknown };
  const listed = Array.isArray(regions) ? (regions as readonly unknown[]) : Array.isArray(named) ? (named as readonly unknown[]) : typeof named === 'string' && named !== '' ? named.split(',') : [];
  const known = listed.map((region) => {
    if (typeof region !== 'object' || region === null) return { name: String(region) };
    const { name, values } = region as { readonly name?: unknown; readonly values?: unknown };
    return { name: String(name), values: normalized(values) };
  });
  if (wanted === undefined || known.length === 0) return known[0] ?? { name: wanted };
  const found = known.find(({ name }) => name === wanted);
  if (found === undefined) throw new Error(`${where} has no region ${JSON.stringify(wanted)}; it has ${known.map(({ name }) => name).join(', ')}`);
  return found;
}

/** `auth_url: https://{region_name}.example.org/v3`. */
function withRegionInUrl(values: Dictionary, region: string | undefined): Dictionary {
  const auth = dictionary(values['auth']);
  const url = auth['auth_url'];
  return typeof url === 'string' && region !== undefined ? { ...values, auth: { ...auth, auth_url: url.replaceAll('{region_name}', region) } } : values;
}

/** Maps are merged, all else is replaced by what comes later. */
function merged(below: unknown, above: unknown): unknown {
  if (!isDictionary(below) || !isDictionary(above)) return above;
  const keys = new Set([...Object.keys(below), ...Object.keys(above)]);
  return Object.fromEntries([...keys].map((key) => [key, Object.hasOwn(below, key) && Object.hasOwn(above, key) ? merged(below[key], above[key]) : (above[key] ?? below[key])]));
}

function normalized(value: unknown): Dictionary {
  return Object.fromEntries(Object.entries(dictionary(value)).map(([key, item]) => [key.replaceAll('-', '_'), isDictionary(item) ? normalized(item) : item]));
}

function dictionary(value: unknown): Dictionary {
  return isDictionary(value) ? value : {};
}

function isDictionary(value: unknown): value is Dictionary {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
