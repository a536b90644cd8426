/**
 * The signing keys: one file (`auth.keyFile`), a JWK Set of symmetric keys (RFC 7517, RFC 7518 section 6.4), made on
 * first start and shared by the nodes of one registry. The first key whose time has come signs, all verify, so that a
 * new key put first logs nobody out. `rotate-key.ts` puts it there.
 */
import { createHmac, createSecretKey, type KeyObject } from 'node:crypto';
import { makeFileOnce } from '../config/made-file.ts';
import { openReloadedFile, type AuthLog } from './reloaded-file.ts';

export interface SigningKey {
  readonly kid: string;
  readonly secret: KeyObject;
}

/** A key of the file. Both times in the milliseconds of `nowMs`; in the file, JWK members `nbf` and `exp` in seconds. */
interface TimedKey extends SigningKey {
  /** It signs nothing before: until then, all nodes get to know it. */
  readonly signsFromMs: number;
  /** Whatever it signed has ended by then. */
  readonly endsMs: number;
}

/** Where keys come from; a source without a file has nothing to refresh. */
export interface Keys {
  /** Changes whenever the set of keys may have. */
  readonly version: number;
  readonly signing: SigningKey;
  find(kid: string): SigningKey | undefined;
  /** Takes changed keys, looking at most once a second; never rejects. */
  refresh(): Promise<void>;
  reload(): Promise<void>;
}

export interface KeyFileDeps {
  readonly nowMs: () => number;
  readonly randomBytes: (size: number) => Buffer;
  readonly log: AuthLog;
}

const KEY_BYTES = 32;
export const KEY_FILE = 'signing key file';

/** Opens the key file, making it where there is none. @throws Error naming the file */
export async function openKeyFile(path: string, deps: KeyFileDeps): Promise<Keys> {
  await makeFileOnce({ path, what: KEY_FILE, make: () => keySetText([newKey(deps.randomBytes)]), randomBytes: deps.randomBytes });
  const file = await openReloadedFile({
    path,
    what: KEY_FILE,
    nowMs: deps.nowMs,
    log: deps.log,
    parse(text, stats) {
      const keys = timedKeys(text);
      const mode = Number(stats.mode) & 0o777;
      if ((mode & 0o077) !== 0) {
        deps.log.warn({ file: path, mode: mode.toString(8) }, `${KEY_FILE} can be read by other users of this machine: expected mode 600`);
      }
      return keys;
    },
  });
  return {
    get version() {
      return file.version;
    },
    get signing() {
      return signingKey(file.value, deps.nowMs());
    },
    find(kid) {
      const key = file.value.find((one) => one.kid === kid);
      return key === undefined || deps.nowMs() < key.endsMs ? key : undefined;
    },
    refresh: () => file.refresh(),
    reload: () => file.reload(),
  };
}

/** A tag over `text` that only holders of the key can make. It can never be a token's signature: no token holds a NUL. */
export function macOf(key: SigningKey, purpose: string, text: string): string {
  return createHmac('sha256', key.secret).update(`${purpose}\0${text}`).digest('base64url');
}

/** As it stands in the file. */
export interface KeyRecord {
  readonly kid: string;
  readonly nbf?: number;
  readonly exp?: number;
}

export function newKey(randomBytes: (size: number) => Buffer): KeyRecord {
  const fields = { kty: 'oct', alg: 'HS256', kid: randomBytes(8).toString('base64url'), k: randomBytes(KEY_BYTES).toString('base64url') };
  return fields;
}

export function keySetText(keys: readonly KeyRecord[]): string {
  return `${JSON.stringify({ keys }, undefined, 2)}\n`;
}

/** The keys of a file's text with all their members. @throws Error where it cannot be used as a key file, without repeating it */
export function keyRecords(text: string): readonly KeyRecord[] {
  timedKeys(text);
  return jwkSet(text) as readonly KeyRecord[]; // just checked
}

/** The first whose time has come; where that is none, the first: a file with keys can always sign. */
function signingKey(keys: readonly [TimedKey, ...TimedKey[]], nowMs: number): SigningKey {
  return keys.find(({ signsFromMs, endsMs }) => signsFromMs <= nowMs && nowMs < endsMs) ?? keys[0];
}

function timedKeys(text: string): readonly [TimedKey, ...TimedKey[]] {
  const keys: TimedKey[] = [];
  for (const [index, jwk] of jwkSet(text).entries()) {
    const key = parseKey(jwk, `keys[${index}]`);
    if (keys.some(({ kid }) => kid === key.kid)) throw new Error(`keys[${index}].kid is that of another key: expected each to be different`);
    keys.push(key);
  }
  const [first, ...others] = keys;
  if (first === undefined) throw new Error('it holds no keys: expected a JWK Set {"keys": [...]}; without the file, a new one is made');
  return [first, ...others];
}

function jwkSet(text: string): readonly unknown[] {
  let set: unknown;
  try {
    set = JSON.parse(text);
  } catch {
    throw new Error('it is not JSON: expected a JWK Set {"keys": [...]}'); // no cause: the parser's message repeats the text
  }
  const keys = typeof set === 'object' && set !== null && 'keys' in set ? set.keys : undefined;
  if (!Array.isArray(keys)) throw new Error('expected a JWK Set {"keys": [...]}');
  return keys;
}

function parseKey(jwk: unknown, where: string): TimedKey {
  if (typeof jwk !== 'object' || jwk === null) throw new Error(`${where} is not an object`);
  const { kty, alg, kid, k, nbf = 0, exp = Number.POSITIVE_INFINITY } = jwk as Partial<Record<'kty' | 'alg' | 'kid' | 'k' | 'nbf' | 'exp', unknown>>; // any object: fields are checked below
  if (kty !== 'oct') throw new Error(`${where}.kty: expected "oct"`);
  if (alg !== undefined && alg !== 'HS256') throw new Error(`${where}.alg: expected "HS256"`);
  if (typeof kid !== 'string' || kid === '' || kid.length > 100) throw new Error(`${where}.kid: expected a name of 1 to 100 characters`);
  if (typeof k !== 'string' || !/^[A-Za-z0-9_-]+$/.test(k)) throw new Error(`${where}.k: expected base64url`);
  const bytes = Buffer.from(k, 'base64url');
  if (bytes.length < KEY_BYTES) throw new Error(`${where}.k holds ${bytes.length} bytes: expected at least ${KEY_BYTES}`);
  if (typeof nbf !== 'number') throw new Error(`${where}.nbf: expected the seconds since 1970 from which on it signs`);
  if (typeof exp !== 'number') throw new Error(`${where}.exp: expected the seconds since 1970 at which it ends`);
  return { kid, secret: createSecretKey(bytes), signsFromMs: nbf * 1000, endsMs: exp * 1000 };
}
