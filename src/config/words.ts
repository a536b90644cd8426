/**
 * The grammars of single words in the configuration file. Each function says what was expected, or gives undefined
 * where the word is good.
 */
import { BlockList, isIP } from 'node:net';
import { isHost, parseViewId } from '../oci/name.ts';
import { parseAddress } from './address.ts';
import { parseTunnelRule } from './tunnel-rule.ts';

export type ProblemOf = (word: string) => string | undefined;

export const addressProblem: ProblemOf = (word) =>
  parseAddress(word) === undefined ? 'expected host:port, such as localhost:5000, 0.0.0.0:5000 or [::]:5000' : undefined;

/** Where clients find us: the distribution API begins at the root of a host, so there is no path. */
export const originProblem: ProblemOf = (word) => {
  const url = parseHttpUrl(word);
  return url === undefined || url.pathname !== '/' ? 'expected http(s)://host[:port], without a path or credentials' : undefined;
};

/** What `/v2/` comes after. */
export const registryUrlProblem: ProblemOf = (word) => {
  const url = parseHttpUrl(word);
  if (url === undefined) return 'expected an http(s) URL, without credentials (which go into username and passwordFile), query or fragment';
  return /\/v[12]\/*$/.test(url.pathname) ? 'expected the URL without /v2, which is added' : undefined;
};

/** Where Keystone or TempAuth answers. */
export const openStackUrlProblem: ProblemOf = (word) =>
  parseHttpUrl(word) === undefined ? 'expected an http(s) URL without credentials or a query, such as https://keystone.example.org:5000/v3' : undefined;

/** https://docs.openstack.org/api-ref/object-store/: at most 256 bytes, no slash. */
export const containerProblem: ProblemOf = (word) =>
  /^[^/\p{Cc}]+$/u.test(word) && Buffer.byteLength(word) <= 256 ? undefined : 'expected the name of a container: up to 256 bytes, without a slash';

/** One part of a path; what comes before the project's id is the operator's choice. */
export const accountProblem: ProblemOf = (word) =>
  /^[A-Za-z0-9._:~-]+$/.test(word) && word !== '.' && word !== '..' && Buffer.byteLength(word) <= 256 ? undefined : "expected an account as it stands in Swift's URLs, such as AUTH_0cc367a30c2a4cf7a33c8789665998fd";

/** AWS allows 3 to 63 of lower case; look-alikes, and buckets from before 2018, more. */
export const bucketProblem: ProblemOf = (word) =>
  /^[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]$/.test(word) ? undefined : 'expected the name of a bucket: 3 or more of letters, digits, dots and hyphens';

/** As keys of drivers are (drivers/driver.ts); Swift's names, with what the driver adds, end at 1024 bytes. */
export const prefixProblem: ProblemOf = (word) => {
  if (word.length > MAX_PREFIX_BYTES) return `expected at most ${MAX_PREFIX_BYTES} characters`;
  const parts = word.replace(/\/$/, '').split('/');
  return parts.every((part) => /^[A-Za-z0-9._:@[\]~+-]+$/.test(part) && part !== '.' && part !== '..')
    ? undefined
    : 'expected parts of letters, digits and any of ._:@[]~+- with slashes between them, such as registries/umbra';
};

export const postgresUrlProblem: ProblemOf = (word) => {
  const url = URL.parse(word);
  return url !== null && /^postgres(?:ql)?:$/.test(url.protocol) && url.pathname.length > 1 ? undefined : 'expected postgres://user:password@host/database';
};

/** Engines of the cluster service's database (clusters/database/database.ts). The message must not repeat a password. */
export const clustersDatabaseProblem: ProblemOf = (word) =>
  /^sqlite:./.test(word) || (/^postgres(?:ql)?:\/\//.test(word) && URL.canParse(word)) ? undefined : 'expected sqlite:<file> or postgres://user:password@host/database';

const ENCRYPTION_KEY_LENGTH = 32;
export const encryptionKeyProblem: ProblemOf = (word) =>
  word.length >= ENCRYPTION_KEY_LENGTH ? undefined : `expected at least ${ENCRYPTION_KEY_LENGTH} characters, such as \`openssl rand -base64 32\` prints`;

/** What `/v1` comes after. */
export const serviceUrlProblem: ProblemOf = (word) => {
  const url = parseHttpUrl(word);
  return url === undefined || /\/v1\/*$/.test(url.pathname) ? 'expected an http(s) URL without /v1, credentials, query or fragment, such as https://clusters.example.org' : undefined;
};

/** A host as names spell it (DESIGN section 3): only these can be told from the first part of a path. */
export const registryHostProblem: ProblemOf = (word) => {
  if (word === 'index.docker.io' || word === 'registry-1.docker.io') return 'expected docker.io, which is what names call this registry';
  if (word.endsWith('.view')) return 'expected a registry host; names that end in .view are views';
  const spelt = word === 'localhost' || word.includes('.') || word.includes(':');
  return isHost(word) && spelt ? undefined : 'expected a registry host as in names, such as docker.io or registry.example.org:5000';
};

export const domainProblem: ProblemOf = (word) =>
  isHost(word) && !word.includes(':')
    ? undefined
    : 'expected a lower-case domain without a leading dot or a port, such as views.example.org';

export const viewProblem: ProblemOf = (word) => {
  try {
    parseViewId(word);
    return undefined;
  } catch {
    return 'expected the name of a view: up to 63 of [a-z0-9-], like a host name without dots';
  }
};

export const networkProblem: ProblemOf = (word) => {
  const [address = '', prefix] = word.split('/', 2);
  const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
  try {
    const list = new BlockList();
    if (prefix === undefined) list.addAddress(address, family);
    else list.addSubnet(address, /^\d{1,3}$/.test(prefix) ? Number(prefix) : Number.NaN, family);
    return word === [address, prefix].filter((part) => part !== undefined).join('/') ? undefined : NETWORK;
  } catch {
    return NETWORK;
  }
};

/** Where a proxy may let clients through: `tunnel-rule.ts` has the grammar. */
export const tunnelProblem: ProblemOf = (word) =>
  parseTunnelRule(word) === undefined ? 'expected a lower-case host such as auth.example.org, a pattern such as *.example.org, an address or a network, with an optional :port' : undefined;

const MAX_PREFIX_BYTES = 83;
const NETWORK = 'expected an IP address or a network such as 10.0.0.0/8';

/** Basic authentication ends a user's name at the first colon; rules give two names a meaning. */
export const userNameProblem: ProblemOf = (word) =>
  /^[^:\p{Cc}]+$/u.test(word) && word !== 'anonymous' && word !== '*'
    ? undefined
    : 'expected a name without colons that is not anonymous or *';

export const bcryptProblem: ProblemOf = (word) =>
  /^\$2[aby]\$(?:0[4-9]|[12]\d|3[01])\$[./A-Za-z0-9]{53}$/.test(word)
    ? undefined
    : 'expected a bcrypt hash, as `htpasswd -nB name` prints it after the colon';

/**
 * A rule that can never apply is a mistake that would otherwise show as a push which is refused, or worse, as one which
 * is not: names begin with a host, and images of docker.io without a folder are in library/.
 */
export const namePatternProblem: ProblemOf = (word) => {
  if (!/^[a-z0-9._:/[\]*-]+$/.test(word)) return 'expected a pattern of lower-case names such as docker.io/org/*';
  const slash = word.indexOf('/');
  const host = slash === -1 ? word : word.slice(0, slash);
  if (host.includes('*')) return undefined;
  if (slash === -1 || registryHostProblem(host) !== undefined)
    return `expected a pattern that begins with a registry host, such as docker.io/${word.replace(/^\/+/, '')}`;
  const path = word.slice(slash + 1);
  return host === 'docker.io' && !path.includes('/') && !path.includes('*')
    ? `expected docker.io/library/${path}, which is that image's whole name`
    : undefined;
};

/** As `iss` has it. A key that came over plain HTTP would be anybody's, but for a server on this machine. */
export const issuerProblem: ProblemOf = (word) => {
  const url = parseHttpUrl(word);
  const safe = url?.protocol === 'https:' || (url !== undefined && ['localhost', '127.0.0.1', '[::1]'].includes(url.hostname));
  return safe ? undefined : 'expected the issuer as it stands in its tokens, such as https://gitlab.example.org';
};

/**
 * A view, a pattern, or a view with one attribute in braces, such as `change-{build-uuid}`. With fixed text, so that a value
 * never is the whole name, and without `*`, so that one value never covers another.
 */
export const viewTemplateProblem: ProblemOf = (word) => {
  if (!/[{}]/.test(word)) return viewPatternProblem(word);
  const [before, after, ...more] = word.split(/\{[^{}]+\}/);
  const fixed = `${before}${after}`;
  return after !== undefined && more.length === 0 && /^[a-z0-9-]+$/.test(fixed)
    ? undefined
    : 'expected a view with one attribute in braces and other text, without *, such as change-{build-uuid}';
};

export const viewPatternProblem: ProblemOf = (word) =>
  /^[a-z0-9*-]+$/.test(word) ? undefined : 'expected a view, or a pattern of views such as change-*';

function parseHttpUrl(text: string): URL | undefined {
  const url = URL.parse(text);
  if (url === null || (url.protocol !== 'https:' && url.protocol !== 'http:')) return undefined;
  return url.username === '' && url.password === '' && url.search === '' && url.hash === '' ? url : undefined;
}
