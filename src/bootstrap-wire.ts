/**
 * What a node of a cluster and the cluster service say to each other: `POST /v1/bootstrap` (a one-time token becomes a
 * key and a credential) and `POST /v1/nodes/<id>/renew`. Both sides parse what the other sent. A key that is not known is
 * left alone, since a node and its service are seldom of one version; what is known must be right.
 */
import * as v from 'valibot';

export const BOOTSTRAP_PATH = '/v1/bootstrap';

/** @param id of the node */
export function renewPath(id: string): string {
  return `/v1/nodes/${id}/renew`;
}

/** Tokens and keys are 256 random bits in base64url, with what they are in front: secret scanners and people see it. */
const SECRET_PATTERN = (prefix: string): RegExp => new RegExp(`^${prefix}[A-Za-z0-9_-]{43}$`);
export const TOKEN_PREFIX = 'umbra-token-';
const KEY_PREFIX = 'umbra-node-';
const TOKEN: RegExp = SECRET_PATTERN(TOKEN_PREFIX);
const KEY: RegExp = SECRET_PATTERN(KEY_PREFIX);
const UUID: RegExp = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** @param bytes 32 random ones */
export function keyOf(bytes: Buffer): string {
  return KEY_PREFIX + bytes.toString('base64url');
}

/** The most that a body of these may have. */
export const MAX_BODY_BYTES: number = 64 * 1024;
/** Of `lastError`, in characters. */
export const MAX_ERROR_LENGTH = 500;

export type NodeRole = 'master' | 'worker';

export interface BootstrapRequest {
  readonly token: string;
  readonly node: {
    /** That of the machine. */
    readonly name: string;
    readonly role: NodeRole;
    /** As Debian spells it: `amd64`, `arm64`. */
    readonly arch: string;
    /** Of Umbra. */
    readonly version: string;
  };
  /** Who the node is, or would be: whoever asks again, since an answer was lost or a token is another, stays the same node. */
  readonly self?: { readonly id: string; readonly key: string } | undefined;
}

/** Who a node is to the object store: the words of `storage.auth`, as text. */
export type Credential = Readonly<Record<string, string>>;

/** Who may push on every node (`registry_write: all`). */
export interface PushUser {
  readonly name: string;
  readonly password: string;
}

export interface BootstrapAnswer {
  /** `key` is shown at each renewal; the service keeps but its hash. */
  readonly node: { readonly id: string; readonly key: string };
  readonly renewSeconds: number;
  /** Of the credential. */
  readonly generation: number;
  readonly credential: Credential;
  readonly pushUser?: PushUser | undefined;
}

export interface RenewRequest {
  readonly version: string;
  readonly role: NodeRole;
  /** What the store last failed with, without secrets; null: nothing since the last renewal. */
  readonly lastError: string | null;
  /** Of the cache; null where there is none. */
  readonly disk: { readonly usedBytes: number; readonly maxBytes: number } | null;
  /** Of the credential that the node has; 0: it has none. */
  readonly generation: number;
  /** Of what it is configured for, as it was rendered; undefined: that is not known. */
  readonly storage?: string | undefined;
}

export interface RenewAnswer {
  readonly generation: number;
  readonly renewSeconds: number;
  /** Where it is another generation's than the node has. */
  readonly credential?: Credential | undefined;
  /** With a credential. */
  readonly pushUser?: PushUser | undefined;
  /** The cluster's storage is another by now than the node is configured for: it keeps the credential that it has, while that lasts. */
  readonly outdated?: boolean | undefined;
}

/** Why a body is none of these. Holds no value out of it: it may be a secret. */
export class WireError extends Error {
  override readonly name = 'WireError';
}

// eslint-disable-next-line no-control-regex -- that is the point
const LINE = /^[^\u0000-\u001f\u007f]*$/;
const line = (maxLength: number): v.GenericSchema<unknown, string> =>
  v.pipe(v.string('expected text'), v.minLength(1, 'expected text'), v.maxLength(maxLength, `expected at most ${maxLength} characters`), v.regex(LINE, 'expected one line'));
const count = (min: number): v.GenericSchema<unknown, number> =>
  v.pipe(v.number('expected a number'), v.safeInteger('expected a whole number'), v.minValue(min, `expected at least ${min}`));
const spelled = (pattern: RegExp, what: string): v.GenericSchema<unknown, string> => v.pipe(v.string(`expected ${what}`), v.regex(pattern, `expected ${what}`));
const role: v.GenericSchema<unknown, NodeRole> = v.picklist(['master', 'worker'], 'expected master or worker');
const generation = count(1);
/** A day at most: a node must not be told to stay away for good. */
const renewSeconds = v.pipe(count(1), v.maxValue(86_400, 'expected at most 86400'));
const credential: v.GenericSchema<unknown, Credential> = v.pipe(
  v.record(v.pipe(v.string(), v.regex(/^[a-zA-Z]{1,64}$/, 'expected a word of auth')), v.pipe(v.string('expected text'), v.maxLength(4096, 'expected at most 4096 characters')), 'expected a map'),
  v.check((words) => words['url'] !== undefined, 'expected a url'),
);
const pushUser = v.object({ name: v.pipe(line(255), v.regex(/^[^:]*$/, 'expected no colon')), password: line(72) }, 'expected a map');
/** Says in the API reference what it is. */
const said = <Value>(schema: v.GenericSchema<unknown, Value>, description: string): v.GenericSchema<unknown, Value> => v.pipe(schema, v.description(description));

const VERSION_WORDS = 'The version of Umbra on the node.';
const nodeCredential = said(credential, 'Who nodes of the cluster are to the object store: the words of `storage.auth`, all of them text.');
const pushUserOfNode = said(pushUser, 'With `registry_write: all`: the `name` and `password` of who may push on every node.');
const comeAgain = said(renewSeconds, 'After how many seconds the node is to come again, at most a day.');
const nodeSelf = v.object({ id: said(spelled(UUID, 'a UUID'), 'The id of the node.'), key: said(spelled(KEY, 'the key of a node'), 'What the node shows when it comes again; the service keeps its hash alone.') }, 'expected a map');
const bootstrapRequest = v.object({
  token: said(spelled(TOKEN, 'a bootstrap token'), 'The one-time token, out of the artifacts.'),
  node: v.object({
    name: said(line(255), 'The name of the machine.'),
    role: said(role, '`master` or `worker`.'),
    arch: said(spelled(/^[a-z0-9_-]{1,32}$/, 'an architecture'), 'As Debian spells it: `amd64`, `arm64`.'),
    version: said(line(64), VERSION_WORDS),
  }, 'expected a map'),
  self: said(v.optional(nodeSelf), 'The `id` (a UUID) and `key` that the node has, or has chosen: one that asks again is the same node, and spends no use of the token. Not given: the service chooses.'),
}, 'expected a map');
const bootstrapAnswer = v.object({
  node: nodeSelf,
  renewSeconds: comeAgain,
  generation: said(generation, 'Of the credential; each rotation adds one.'),
  credential: nodeCredential,
  pushUser: v.optional(pushUserOfNode),
}, 'expected a map');
const renewRequest = v.object({
  version: said(line(64), VERSION_WORDS),
  role: said(role, '`master` or `worker`.'),
  lastError: said(v.nullable(line(MAX_ERROR_LENGTH)), `What the object store last failed with since the last renewal, at most ${MAX_ERROR_LENGTH} characters; null: nothing.`),
  disk: said(v.nullable(v.object({ usedBytes: count(0), maxBytes: count(0) }, 'expected a map')), 'The `usedBytes` and `maxBytes` of its cache; null: it has none.'),
  generation: said(count(0), 'Of the credential that it has; 0: it has none.'),
  storage: v.optional(said(line(64), 'The `node.storage` of its configuration: for which storage of the cluster that was rendered.')),
}, 'expected a map');
const renewAnswer = v.object({
  generation: said(generation, 'Of the credential that holds now.'),
  renewSeconds: comeAgain,
  credential: v.optional(said(credential, 'Where it is not of the generation that the node has.')),
  pushUser: v.optional(said(pushUser, 'Beside a credential, with `registry_write: all`.')),
  outdated: v.optional(said(v.boolean('expected true or false'), 'The cluster has another storage by now than the node is configured for: no credential for that comes until the node has what `format=upgrade` renders.')),
}, 'expected a map');

/** What the reference of the API is made of. */
export const WIRE_SCHEMAS: Readonly<Record<string, v.GenericSchema>> = { bootstrapRequest, bootstrapAnswer, renewRequest, renewAnswer };

/** @throws WireError */
export function parseBootstrapRequest(text: string): BootstrapRequest {
  return parse(bootstrapRequest, text);
}

/** @throws WireError */
export function parseBootstrapAnswer(text: string): BootstrapAnswer {
  return parse(bootstrapAnswer, text);
}

/** @throws WireError */
export function parseRenewRequest(text: string): RenewRequest {
  return parse(renewRequest, text);
}

/** @throws WireError */
export function parseRenewAnswer(text: string): RenewAnswer {
  return parse(renewAnswer, text);
}

/** The credential as it stands in a file or in the service's database. @throws WireError */
export function parseCredential(text: string): Credential {
  return parse(credential, text);
}

/** As it stands in the service's database. @throws WireError */
export function parsePushUser(text: string): PushUser {
  return parse(pushUser, text);
}

export function isNodeKey(text: string): boolean {
  return KEY.test(text);
}

export function isBootstrapToken(text: string): boolean {
  return TOKEN.test(text);
}

function parse<Value>(schema: v.GenericSchema<unknown, Value>, text: string): Value {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new WireError('expected JSON'); // the parser's own message repeats some of the text
  }
  const { issues, output, success } = v.safeParse(schema, value, { abortEarly: true });
  if (success) return output;
  const [issue] = issues;
  const path = issue.path?.map(({ key }) => String(key)).join('.') ?? '';
  throw new WireError(path === '' ? issue.message : `${path}: ${issue.input === undefined ? 'missing' : issue.message}`);
}
