/**
 * The words in which people say who they are to OpenStack, wherever they say it (our file, clouds.yaml, `OS_*`), and what
 * they come to. Which kind of login is meant follows from the words that are there.
 */
import type { Hidden, OpenStackAuth, Qualified, Reference } from './auth.ts';
import type { Dictionary } from './clouds.ts';

export const AUTH_WORDS = [
  'url', 'username', 'userId', 'password', 'userDomain', 'userDomainId', 'project', 'projectId', 'projectDomain', 'projectDomainId',
  'applicationCredentialId', 'applicationCredentialName', 'applicationCredentialSecret', 'trustId',
] as const;
export type AuthWord = (typeof AUTH_WORDS)[number];
export type AuthWords = { readonly [Word in AuthWord]?: string | undefined };

export interface AuthProblem {
  readonly word: AuthWord;
  readonly message: string;
}

export type AuthKind = OpenStackAuth['kind'];

export interface Understanding {
  /** Undefined: as the words say. */
  readonly kind?: AuthKind;
  /** Words that are not needed are a problem: in our own file they are a misunderstanding, elsewhere they are common. */
  readonly strict: boolean;
}

/** What a login of each kind is made of. */
const USES: Readonly<Record<AuthKind, readonly AuthWord[]>> = {
  password: ['url', 'username', 'userId', 'password', 'userDomain', 'userDomainId', 'project', 'projectId', 'projectDomain', 'projectDomainId'],
  'application-credential': ['url', 'applicationCredentialId', 'applicationCredentialName', 'applicationCredentialSecret', 'username', 'userId', 'userDomain', 'userDomainId'],
  trust: ['url', 'username', 'userId', 'password', 'userDomain', 'userDomainId', 'trustId'],
  tempauth: ['url', 'username', 'password'],
};
const TOO_MUCH: Readonly<Record<AuthKind, string>> = {
  password: 'does not belong to a login by password',
  'application-credential': 'an application credential has a project and a secret of its own; leave this out',
  trust: 'a trust has a project of its own; leave this out',
  tempauth: 'TempAuth, which auth.url ending in v1.0 means, knows nothing but username (account:user) and password; leave this out',
};
/** Keystone's own name for the domain that is always there. */
const DEFAULT_DOMAIN = 'Default';

/** The login that the words mean; of use only where there are no problems. */
export function authOf(words: AuthWords, hide: (text: string) => Hidden, { kind = kindOf(words), strict }: Understanding): { readonly auth: OpenStackAuth; readonly problems: readonly AuthProblem[] } {
  const problems: AuthProblem[] = [];
  const url = need('url', 'where Keystone answers, such as https://keystone.example.org:5000/v3');
  if (strict) {
    for (const word of AUTH_WORDS) if (words[word] !== undefined && !USES[kind].includes(word)) problems.push({ word, message: TOO_MUCH[kind] });
    for (const [name, id] of [['username', 'userId'], ['userDomain', 'userDomainId'], ['project', 'projectId'], ['projectDomain', 'projectDomainId'], ['applicationCredentialName', 'applicationCredentialId']] as const)
      if (words[name] !== undefined && words[id] !== undefined && USES[kind].includes(id)) problems.push({ word: name, message: `expected ${name} or ${id}, got both` });
    if (words.userId !== undefined && words.userId !== '')
      for (const word of ['userDomain', 'userDomainId'] as const) if (words[word] !== undefined) problems.push({ word, message: 'goes with username; a userId is unique without it' });
  }
  return { auth: build(), problems };

  function need(word: AuthWord, what: string): string {
    const value = words[word];
    if (value === undefined || value === '') problems.push({ word, message: `missing: ${what}` });
    return value ?? '';
  }
  function user(): Qualified {
    if (words.userId !== undefined) return { id: words.userId };
    return { name: need('username', 'the name of the user (or userId)'), domain: userDomain() };
  }
  function userDomain(): Reference {
    return words.userDomainId !== undefined ? { id: words.userDomainId } : { name: words.userDomain ?? DEFAULT_DOMAIN };
  }
  function project(): Qualified {
    if (words.projectId !== undefined) return { id: words.projectId };
    const domain = words.projectDomainId !== undefined ? { id: words.projectDomainId } : words.projectDomain !== undefined ? { name: words.projectDomain } : userDomain();
    return { name: need('project', 'the project that the container belongs to (or projectId)'), domain };
  }
  function build(): OpenStackAuth {
    switch (kind) {
      case 'tempauth':
        return { kind, url, username: need('username', 'the user, as account:user'), password: hide(need('password', 'the password of the user')) };
      case 'trust':
        return { kind, url, user: user(), password: hide(need('password', 'the password of the user')), trustId: hide(words.trustId ?? '') };
      case 'application-credential': {
        const secret = hide(need('applicationCredentialSecret', 'the secret of the application credential'));
        const { applicationCredentialId: id, applicationCredentialName: name } = words;
        if (name !== undefined && id === undefined) return { kind, url, credential: { name, user: user() }, secret };
        return { kind, url, credential: { id: need('applicationCredentialId', 'the id of the application credential (or applicationCredentialName)') }, secret };
      }
      case 'password':
        return { kind, url, user: user(), password: hide(need('password', 'the password of the user')), project: project() };
    }
  }
}

function kindOf(words: AuthWords): AuthKind {
  if ([words.applicationCredentialId, words.applicationCredentialName, words.applicationCredentialSecret].some((word) => word !== undefined)) return 'application-credential';
  if (words.trustId !== undefined) return 'trust';
  return /\/v1(?:\.\d)?\/*$/.test(words.url ?? '') ? 'tempauth' : 'password';
}

/** What a cloud or an environment says, in our words; each with the key that said it. */
export interface Said {
  readonly kind: AuthKind;
  readonly words: AuthWords;
  readonly region: string | undefined;
  readonly interface: string | undefined;
  /** A path. */
  readonly cacert: string | undefined;
  readonly insecure: boolean | undefined;
  /** By our word: the key over there, as `auth.password` or `password`. */
  readonly keys: ReadonlyMap<string, string>;
}

/** In the order of who wins. A domain may be given once for user and project (openstacksdk `_handle_domain_id`). */
const SPELLINGS: Readonly<Record<AuthWord, readonly string[]>> = {
  url: ['auth_url'],
  username: ['username', 'user_name'],
  userId: ['user_id'],
  password: ['password'],
  userDomain: ['user_domain_name', 'domain_name', 'default_domain_name'],
  userDomainId: ['user_domain_id', 'domain_id', 'default_domain_id', 'default_domain'],
  project: ['project_name', 'tenant_name'],
  projectId: ['project_id', 'tenant_id'],
  projectDomain: ['project_domain_name', 'domain_name', 'default_domain_name'],
  projectDomainId: ['project_domain_id', 'domain_id', 'default_domain_id', 'default_domain'],
  applicationCredentialId: ['application_credential_id'],
  applicationCredentialName: ['application_credential_name'],
  applicationCredentialSecret: ['application_credential_secret'],
  trustId: ['trust_id'],
};
const TYPES: Readonly<Record<string, readonly AuthKind[]>> = {
  password: ['password', 'trust'],
  v3password: ['password', 'trust'],
  v3applicationcredential: ['application-credential'],
  v1password: ['tempauth'],
};

/** @throws Error where the kind of login is none of ours */
export function saidBy(values: Dictionary): Said {
  const auth = typeof values['auth'] === 'object' && values['auth'] !== null ? (values['auth'] as Dictionary) : {};
  const keys = new Map<string, string>();
  const type = look('authType', ['auth_type', 'auth_plugin']);
  const kinds = type === undefined ? undefined : TYPES[type];
  if (type !== undefined && kinds === undefined) throw new Error(`auth_type ${JSON.stringify(type)} cannot be used; expected one of ${Object.keys(TYPES).join(', ')}`);

  const all: { [Word in AuthWord]?: string | undefined } = {};
  for (const word of AUTH_WORDS) all[word] = look(word, SPELLINGS[word]);
  preferSpecific('userDomain', 'userDomainId');
  preferSpecific('projectDomain', 'projectDomainId');
  for (const [name, id] of [['username', 'userId'], ['project', 'projectId'], ['applicationCredentialName', 'applicationCredentialId']] as const) if (all[id] !== undefined) drop(name);
  // What belongs to a kind of login that was not asked for is left over from another.
  const likely = kindOf(all);
  const kind = kinds === undefined || kinds.includes(likely) ? likely : (kinds[0] ?? likely);
  for (const word of AUTH_WORDS) if (!USES[kind].includes(word)) drop(word);
  const side = look('interface', ['interface', 'endpoint_type']);
  return {
    kind,
    words: all,
    region: look('region', ['region_name']),
    interface: side?.replace(/URL$/, ''),
    cacert: look('ca', ['cacert']),
    insecure: insecure(),
    keys,
  };

  function look(word: string, spellings: readonly string[]): string | undefined {
    for (const spelling of spellings) {
      for (const [holder, path] of [[auth, `auth.${spelling}`], [values, spelling]] as const) {
        const value = holder[spelling];
        if ((typeof value !== 'string' && typeof value !== 'number') || value === '') continue;
        keys.set(word, path);
        return String(value);
      }
    }
    return undefined;
  }
  function drop(word: AuthWord): void {
    all[word] = undefined;
    keys.delete(word);
  }
  /** The id wins over the name, but what was said of this alone over what was said of both. */
  function preferSpecific(name: AuthWord, id: AuthWord): void {
    if (all[name] === undefined || all[id] === undefined) return;
    const rank = (word: AuthWord): number => SPELLINGS[word].indexOf((keys.get(word) ?? '').replace(/^auth\./, ''));
    drop(rank(name) < rank(id) ? id : name);
  }
  function insecure(): boolean | undefined {
    for (const [key, means] of [['insecure', true], ['verify', false]] as const) {
      const value = values[key];
      if ((typeof value !== 'boolean' && typeof value !== 'string') || value === '') continue;
      keys.set('insecure', key);
      // openstacksdk takes the word true only; openstackclient 1 too.
      return ['true', '1', 'yes'].includes(String(value).toLowerCase()) === means;
    }
    return undefined;
  }
}

/** `OS_*` as a cloud, undefined where there is nothing but what chooses one. */
export function environmentCloud(env: Readonly<Record<string, string | undefined>>): Dictionary | undefined {
  const entries = Object.entries(env).filter(([name, value]) => name.startsWith('OS_') && value !== undefined && value !== '');
  const selectors = new Set(['OS_CLOUD', 'OS_REGION_NAME', 'OS_CLIENT_CONFIG_FILE', 'OS_CLIENT_SECURE_FILE', 'OS_CLOUD_NAME']);
  if (entries.every(([name]) => selectors.has(name))) return undefined;
  return Object.fromEntries(entries.map(([name, value]) => [name.slice(3).toLowerCase(), value]));
}
