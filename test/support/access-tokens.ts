/**
 * The kinds of token that every endpoint is asked with: none, those that are wrong in one way each, those for something
 * else, and those that are good for part of it or all. For a registry whose key lies in a file.
 */
import { createSecretKey, randomBytes, type KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { SignJWT, UnsecuredJWT } from 'jose';

/** What a token is good for: nothing; something else; pulling the name; pulling and pushing it. */
export type TokenKind = 'bad' | 'uncovered' | 'pull' | 'push';

export interface AccessTokens {
  /** A row for each token: what it is, how it is had, what it is good for. */
  readonly rows: readonly (readonly [what: string, make: () => Promise<string | undefined> | string | undefined, kind: TokenKind])[];
  /** One that is good but for what is changed. */
  forge(changes?: { readonly lifeSeconds?: number; readonly secret?: KeyObject }): Promise<string>;
}

export interface AccessTokensOptions {
  /** `auth.keyFile` of the registry; read when the first token is made. */
  readonly keyFile: () => string;
  /** What the tokens are for, and another one, as clients write them. On docker.io. */
  readonly name: string;
  readonly otherName: string;
  /** Asks the registry for a token: the reader may pull both names, the writer push to both. */
  readonly tokenFor: (user: 'reader' | 'writer', scope: string) => Promise<string>;
  /** Before the names in the registry's own words. Default: `docker.io`. */
  readonly host?: string;
}

export function accessTokens({ keyFile, name, otherName, tokenFor, host = 'docker.io' }: AccessTokensOptions): AccessTokens {
  const claims = { sub: 'writer', view: 'main', access: [{ type: 'repository', name: `${host}/${name}`, actions: ['pull', 'push', 'delete'] }] };
  const ownKey = (): { readonly kid: string; readonly secret: KeyObject } => {
    const { keys: [own] } = JSON.parse(readFileSync(keyFile(), 'utf8')) as { keys: [{ kid: string; k: string }] };
    return { kid: own.kid, secret: createSecretKey(Buffer.from(own.k, 'base64url')) };
  };
  const forge: AccessTokens['forge'] = ({ lifeSeconds = 300, secret } = {}) => {
    const key = ownKey();
    const now = Math.floor(Date.now() / 1000);
    return new SignJWT(claims).setProtectedHeader({ alg: 'HS256', typ: 'JWT', kid: key.kid }).setIssuer('umbra').setAudience('umbra')
      .setIssuedAt(now - 600).setExpirationTime(now + lifeSeconds).sign(secret ?? key.secret);
  };
  return {
    forge,
    rows: [
      ['no token', () => undefined, 'bad'],
      ['an expired token', () => forge({ lifeSeconds: -1 }), 'bad'],
      ['a token of another key', () => forge({ secret: createSecretKey(randomBytes(32)) }), 'bad'],
      ['a token signed with the literal key "secret"', () => forge({ secret: createSecretKey(Buffer.from('secret')) }), 'bad'],
      ['a token with alg none', () => new UnsecuredJWT(claims).setIssuer('umbra').setAudience('umbra').setIssuedAt().setExpirationTime('5m').encode(), 'bad'],
      ['a token in the shape of zuul-registry’s', () => new SignJWT({ level: 'write' }).setProtectedHeader({ alg: 'HS256' }).sign(Buffer.from('secret')), 'bad'],
      ['no token at all in the header', () => 'abc', 'bad'],
      ['a push token for another name', () => tokenFor('writer', `repository:${otherName}:pull,push`), 'uncovered'],
      ['a token of another view', () => tokenFor('writer', `repository:other.view/${name}:pull,push`), 'uncovered'],
      ['a pull token', () => tokenFor('reader', `repository:${name}:pull`), 'pull'],
      ['a token of a user who may only pull, and asked for more', () => tokenFor('reader', `repository:${name}:pull,push`), 'pull'],
      ['a push token', () => tokenFor('writer', `repository:${name}:pull,push`), 'push'],
    ],
  };
}
