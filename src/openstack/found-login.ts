/** Who we are to OpenStack where nobody says it to us: a cloud of `clouds.yaml`, by name or by `OS_CLOUD`, else the `OS_*` of an openrc file. */
import { authOf, environmentCloud, saidBy, type AuthWords } from './auth-words.ts';
import type { Hidden, OpenStackAuth } from './auth.ts';
import { readCloud, type CloudSurroundings } from './clouds.ts';

/** Where a word was found. */
export type Origin = { readonly kind: 'variable'; readonly variable: string } | { readonly kind: 'cloud'; readonly cloud: string; readonly path: string };

export interface FoundLogin {
  /** Of use only where there are no problems. */
  readonly auth: OpenStackAuth;
  readonly region: string | undefined;
  /** Of the catalogue, as it is written: `public`, `internal`, … */
  readonly interface: string | undefined;
  /** A path. */
  readonly cacert: string | undefined;
  readonly insecure: boolean | undefined;
  /** For messages: `the environment`, `the cloud "x" in /etc/openstack/clouds.yaml`. */
  readonly where: string;
  /** By our word. */
  readonly origins: ReadonlyMap<string, Origin>;
  /** What is missing or cannot be used, each with where it would be. */
  readonly problems: readonly string[];
}

export interface WantedLogin {
  /** Undefined: as `OS_CLOUD` says. */
  readonly cloud: string | undefined;
  /** Undefined: the first that the cloud names; where the environment chose the cloud, `OS_REGION_NAME`. */
  readonly region: string | undefined;
}

/** What openstacksdk calls the words that cannot be done without. */
const USUAL: Readonly<Record<string, string>> = {
  url: 'auth_url', username: 'username', password: 'password', project: 'project_name',
  applicationCredentialId: 'application_credential_id', applicationCredentialSecret: 'application_credential_secret',
} satisfies { readonly [Word in keyof AuthWords]?: string };

/**
 * Undefined: nothing says who we are.
 * @throws Error about a cloud that is not there, or a kind of login that is none of ours
 */
export function findLogin({ cloud: chosen, region }: WantedLogin, surroundings: CloudSurroundings, hide: (text: string) => Hidden): FoundLogin | undefined {
  const { env } = surroundings;
  const name = chosen ?? env['OS_CLOUD'];
  if (name !== undefined && name !== '') {
    const wanted = region ?? (chosen === undefined ? env['OS_REGION_NAME'] : undefined);
    const cloud = readCloud(name, wanted === '' ? undefined : wanted, surroundings);
    const origin = (): Origin => ({ kind: 'cloud', cloud: name, path: cloud.path });
    return { ...found(cloud.values, `the cloud ${JSON.stringify(name)} in ${cloud.path}`, (word) => word, origin, hide), region: cloud.region };
  }
  const values = environmentCloud(env);
  if (values === undefined) return undefined;
  const variableOf = (spelling: string): string => `OS_${spelling.toUpperCase()}`;
  return found(values, 'the environment', variableOf, (spelling) => ({ kind: 'variable', variable: variableOf(spelling) }), hide);
}

function found(values: Parameters<typeof saidBy>[0], where: string, spell: (key: string) => string, origin: (key: string) => Origin, hide: (text: string) => Hidden): FoundLogin {
  const { kind, words, keys, region, interface: side, cacert, insecure } = saidBy(values);
  const { auth, problems } = authOf(words, hide, { kind, strict: false });
  const told = problems.map(({ word, message }) => {
    const spelling = spell(keys.get(word) ?? USUAL[word] ?? word);
    return `${where} has no ${spelling}${message.startsWith('missing: ') ? `: ${message.slice('missing: '.length)}` : ` that can be used: ${message}`}`;
  });
  if (words.url !== undefined && URL.parse(words.url) === null) told.push(`${where} has a ${spell(keys.get('url') ?? 'auth_url')} that is not a URL`);
  return { auth, region, interface: side, cacert, insecure, where, origins: new Map([...keys].map(([word, key]) => [word, origin(key)])), problems: told };
}
