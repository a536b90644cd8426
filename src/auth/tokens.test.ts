import { createSecretKey, randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { SignJWT, UnsecuredJWT, decodeJwt, decodeProtectedHeader } from 'jose';
import { beforeEach, describe, expect, test } from 'vitest';
import { Secret } from '../config/config.ts';
import { parseViewId } from '../oci/name.ts';
import type { TokenGrant } from './identity.ts';
import type { Keys, SigningKey } from './key.ts';
import { ACCESS_SECONDS, REFRESH_SECONDS, createTokens, type AccessRequest } from './tokens.ts';

const [MAIN, STAGING] = [parseViewId('main'), parseViewId('staging')];
const START_MS = 1_800_000_000_000;
let clockMs: number;
beforeEach(() => void (clockMs = START_MS));

const newKey = (kid: string): SigningKey => ({ kid, secret: createSecretKey(randomBytes(32)) });
/** Keys without a file; `fresh` is what a look at it would show. */
function keysOf(...first: SigningKey[]): Keys & { fresh: SigningKey[] } {
  let current = first;
  let version = 1;
  return {
    fresh: first,
    get version() { return version; },
    get signing() { return current[0] as SigningKey; }, // never given none
    find: (kid) => current.find((key) => key.kid === kid),
    refresh() { return this.reload(); },
    async reload() {
      if (current !== this.fresh) version += 1;
      current = this.fresh;
    },
  };
}
const tokensWith = (keys: Keys): ReturnType<typeof createTokens> => createTokens({ keys, nowMs: () => clockMs });

const GRANT: TokenGrant = { view: MAIN, name: 'docker.io/org/app', actions: 3 };
const REQUEST: AccessRequest = { subject: 'ci', view: MAIN, grants: [GRANT] };

describe('an access token', () => {
  test('carries the claims of the Docker specification, with canonical names', async () => {
    const { token, issuedAtSeconds } = await tokensWith(keysOf(newKey('k1'))).issueAccess({
      subject: 'ci', view: MAIN,
      grants: [GRANT, { view: STAGING, name: 'quay.io/x', actions: 5 }, { view: MAIN, name: 'catalog', actions: 1 }],
    });
    expect(decodeProtectedHeader(token)).toEqual({ alg: 'HS256', typ: 'JWT', kid: 'k1' });
    expect(decodeJwt(token)).toEqual({
      iss: 'umbra', aud: 'umbra', sub: 'ci', view: 'main', iat: START_MS / 1000, exp: START_MS / 1000 + ACCESS_SECONDS,
      access: [
        { type: 'repository', name: 'docker.io/org/app', actions: ['pull', 'push'] },
        { type: 'repository', name: 'quay.io/x', actions: ['pull', 'delete'], view: 'staging' },
        { type: 'registry', name: 'catalog', actions: ['*'] },
      ],
    });
    expect(issuedAtSeconds).toBe(START_MS / 1000);
  });

  test('verifies to what it was issued for, whatever that was', async () => {
    const tokens = tokensWith(keysOf(newKey('k1')));
    const grants = fc.array(fc.record({ view: fc.constantFrom(MAIN, STAGING), name: fc.constantFrom('docker.io/a', 'quay.io/b'), actions: fc.integer({ min: 1, max: 7 }) }));
    await fc.assert(fc.asyncProperty(fc.constantFrom(undefined, 'ci', 'jürgen'), fc.constantFrom(MAIN, STAGING), grants, async (subject, view, asked) => {
      const { token } = await tokens.issueAccess({ subject, view, grants: asked });
      expect(await tokens.verifyAccess(token)).toEqual({ kind: 'token', subject, view, grants: asked, expiresAtMs: START_MS + ACCESS_SECONDS * 1000 });
    }), { numRuns: 30 });
  });

  test.each([[3600, ACCESS_SECONDS], [200.9, 200], [61, 61], [60, 60], [10, 60], [-10, 60]])('ends with the credentials it is for, which have %d s left, but not before clients can use it: %d s', async (leftSeconds, lifeSeconds) => {
    const tokens = tokensWith(keysOf(newKey('k1')));
    const issued = await tokens.issueAccess({ subject: 'ci', view: MAIN, grants: [], endsMs: clockMs + leftSeconds * 1000 });
    expect(issued.lifeSeconds).toBe(lifeSeconds);
    clockMs += lifeSeconds * 1000 - 1;
    expect(await tokens.verifyAccess(issued.token)).toMatchObject({ kind: 'token' });
    clockMs += 1;
    expect(await tokens.verifyAccess(issued.token)).toMatchObject({ kind: 'invalid' });
  });

  test('is verified at once the second time, until it expires', async () => {
    const tokens = tokensWith(keysOf(newKey('k1')));
    const { token } = await tokens.issueAccess(REQUEST);
    const first = await tokens.verifyAccess(token);
    clockMs += ACCESS_SECONDS * 1000 - 1;
    expect(tokens.verifyAccess(token)).toBe(first);
    clockMs += 1;
    expect(tokens.verifyAccess(token)).toEqual({ kind: 'invalid', problem: 'the token has expired' });
  });
});

describe('a token is refused', () => {
  const key = newKey('k1');
  const claims = { sub: 'ci', view: 'main', access: [{ type: 'repository', name: 'docker.io/org/app', actions: ['pull'] }] };
  interface Forgery { alg?: string; kid?: string; typ?: string; issuer?: string; audience?: string; lifeSeconds?: number; secret?: SigningKey['secret'] | Uint8Array; payload?: object }
  const forge = ({ alg = 'HS256', kid = 'k1', typ = 'JWT', issuer = 'umbra', audience = 'umbra', lifeSeconds = 300, secret = key.secret, payload = claims }: Forgery): Promise<string> =>
    new SignJWT({ ...payload }).setProtectedHeader({ alg, typ, kid }).setIssuer(issuer).setAudience(audience)
      .setIssuedAt(START_MS / 1000).setExpirationTime(START_MS / 1000 + lifeSeconds).sign(secret);
  const unsecured = (): string => new UnsecuredJWT(claims).setIssuer('umbra').setAudience('umbra').setIssuedAt(START_MS / 1000).setExpirationTime(START_MS / 1000 + 300).encode();

  test.each<[string, () => string | Promise<string>, string]>([
    ['expired', () => forge({ lifeSeconds: 0 }), 'has expired'],
    ['signed with another key of the same name', () => forge({ secret: randomBytes(32) }), 'not signed with our key'],
    ['signed with a key of another name', () => forge({ kid: 'k2' }), 'a key that is not ours'],
    ['signed with the literal key "secret"', () => forge({ secret: new TextEncoder().encode('secret') }), 'not signed with our key'],
    ['HS512 with our key', () => forge({ alg: 'HS512', secret: createSecretKey(Buffer.concat([key.secret.export(), key.secret.export()])) }), 'not one of ours'],
    ['alg none', unsecured, 'not one of ours'],
    ['alg none with a key name', () => `${Buffer.from('{"alg":"none","typ":"JWT","kid":"k1"}').toString('base64url')}.${unsecured().split('.')[1] ?? ''}.`, 'not one of ours'],
    ['of another issuer', () => forge({ issuer: 'docker' }), '"iss"'],
    ['for another audience', () => forge({ audience: 'docker' }), '"aud"'],
    ['a refresh token', () => forge({ typ: 'refresh+jwt' }), '"typ"'],
    ['changed after it was signed', async () => {
      const [header, , signature] = (await forge({})).split('.');
      return `${header ?? ''}.${Buffer.from(JSON.stringify({ ...claims, iss: 'umbra', aud: 'umbra', iat: 0, exp: 9e9, sub: 'admin' })).toString('base64url')}.${signature ?? ''}`;
    }, 'not signed with our key'],
    ['cut off', async () => (await forge({})).slice(0, -1), 'our'],
    ['no token at all', () => 'abc', 'not one of ours'],
    ['empty parts', () => '..', 'not one of ours'],
  ])('%s', async (_, make, problem) => {
    const tokens = tokensWith(keysOf(key));
    const token = await make();
    expect(await tokens.verifyAccess(await forge({}))).toMatchObject({ kind: 'token' }); // or the rows would prove nothing
    for (let time = 0; time < 2; time++) {
      expect(await tokens.verifyAccess(token)).toEqual({ kind: 'invalid', problem: expect.stringContaining(problem.replaceAll('"', '')) as string });
    }
    expect(await tokens.verifyRefresh(token)).toBeUndefined();
  });

  test('whatever text it is, without an exception', async () => {
    const tokens = tokensWith(keysOf(key));
    const part = fc.oneof(fc.base64String(), fc.json().map((text) => Buffer.from(text).toString('base64url')), fc.constant(Buffer.from('{"alg":"HS256","typ":"JWT","kid":"k1"}').toString('base64url')));
    await fc.assert(fc.asyncProperty(fc.array(part, { maxLength: 4 }), async (parts) => {
      expect(await tokens.verifyAccess(parts.join('.'))).toMatchObject({ kind: 'invalid' });
    }));
  });
});

describe('when keys change', () => {
  test('tokens of the old key stay good while it is there, new ones are signed with the new', async () => {
    const [old, fresh] = [newKey('old'), newKey('fresh')];
    const keys = keysOf(old);
    const tokens = tokensWith(keys);
    const { token } = await tokens.issueAccess(REQUEST);
    await tokens.verifyAccess(token);
    keys.fresh = [fresh, old];
    await keys.reload();
    expect(await tokens.verifyAccess(token)).toMatchObject({ kind: 'token' });
    expect(decodeProtectedHeader((await tokens.issueAccess(REQUEST)).token).kid).toBe('fresh');
  });

  test('a token of a removed key is refused, verified before or not', async () => {
    const keys = keysOf(newKey('old'));
    const tokens = tokensWith(keys);
    const { token } = await tokens.issueAccess(REQUEST);
    await tokens.verifyAccess(token);
    keys.fresh = [newKey('fresh')];
    await keys.reload();
    expect(await tokens.verifyAccess(token)).toMatchObject({ kind: 'invalid' });
  });

  test('also one that is in use all the time, and nobody else comes', async () => {
    const keys = keysOf(newKey('old'));
    const tokens = tokensWith(keys);
    const { token } = await tokens.issueAccess(REQUEST);
    await tokens.verifyAccess(token);
    keys.fresh = [newKey('fresh')];
    await tokens.verifyAccess(token); // whatever it says, it looks at the file
    expect(await tokens.verifyAccess(token)).toMatchObject({ kind: 'invalid' });
  });

  test('a token of a key that another node began to use is looked for in the file', async () => {
    const [old, fresh] = [newKey('old'), newKey('fresh')];
    const { token } = await tokensWith(keysOf(fresh)).issueAccess(REQUEST);
    const keys = keysOf(old);
    keys.fresh = [fresh, old];
    expect(await tokensWith(keys).verifyAccess(token)).toMatchObject({ kind: 'token' });
  });
});

describe('a refresh token', () => {
  const credential = new Secret('hunter2');

  test('names its user for thirty days, and is no access token', async () => {
    const tokens = tokensWith(keysOf(newKey('k1')));
    const token = await tokens.issueRefresh({ name: 'ci', credential });
    clockMs += REFRESH_SECONDS * 1000 - 1;
    const claim = await tokens.verifyRefresh(token);
    expect([claim?.name, claim?.matches(credential), claim?.matches(new Secret('changed'))]).toEqual(['ci', true, false]);
    expect(await tokens.verifyAccess(token)).toMatchObject({ kind: 'invalid' });
    clockMs += 1;
    expect(await tokens.verifyRefresh(token)).toBeUndefined();
  });

  test('outlives a rotation', async () => {
    const [old, fresh] = [newKey('old'), newKey('fresh')];
    const keys = keysOf(old);
    const tokens = tokensWith(keys);
    const token = await tokens.issueRefresh({ name: 'ci', credential });
    keys.fresh = [fresh, old];
    await keys.reload();
    expect((await tokens.verifyRefresh(token))?.matches(credential)).toBe(true);
  });

  test('does not show what the password is checked with', async () => {
    const token = await tokensWith(keysOf(newKey('k1'))).issueRefresh({ name: 'ci', credential });
    expect(JSON.stringify(decodeJwt(token))).not.toContain('hunter2');
  });
});
