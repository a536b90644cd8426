/** ID tokens of an issuer on a socket that does what it should not, and of one that goes away. */
import { createSecretKey } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer, type Server, type ServerResponse } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SignJWT, UnsecuredJWT, exportJWK, exportSPKI, generateKeyPair, type CryptoKey, type JWK, type JWTPayload } from 'jose';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { makeAuthority } from '../../../test/services/certificates.ts';
import { Secret, type OidcConfig } from '../../config/config.ts';
import { createOidc, type Oidc } from './oidc.ts';

const START_MS = 1_800_000_000_000;
const HOUR = 3600;

let key: CryptoKey;
let other: CryptoKey;
let jwk: JWK;
let otherJwk: JWK;
let publicPem: string;
beforeAll(async () => {
  const [one, two] = await Promise.all([generateKeyPair('RS256', { extractable: true }), generateKeyPair('RS256', { extractable: true })]);
  [key, other] = [one.privateKey, two.privateKey];
  [jwk, otherJwk] = [{ ...(await exportJWK(one.publicKey)), kid: 'k1', use: 'sig' }, { ...(await exportJWK(two.publicKey)), kid: 'k2', use: 'sig' }];
  publicPem = await exportSPKI(one.publicKey);
});

type Answer = (response: ServerResponse, path: string) => void;

let server: Server;
let issuer: string;
let asked: string[];
/** In the place of what should be answered. */
let answer: Answer;
let keys: JWK[];
let clockMs: number;
let logged: string[];
let oidc: Oidc;
let hangUp: AbortController;
const opened: Oidc[] = [];

const json = (response: ServerResponse, value: unknown): void => void response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value));
const honest: Answer = (response, path) => json(response, path === '/keys' ? { keys } : { issuer, jwks_uri: `${issuer}/keys` });
const onKeys = (change: Answer): Answer => (response, path) => (path === '/keys' ? change : honest)(response, path);

beforeEach(async () => {
  [asked, logged, keys, answer, clockMs] = [[], [], [jwk], honest, START_MS];
  hangUp = new AbortController();
  server = createServer((request, response) => {
    asked.push(request.url ?? '');
    answer(response, request.url ?? '');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`; // not a pipe
  oidc = open();
});
afterEach(async () => {
  for (const each of opened.splice(0)) await each.close();
  server.closeAllConnections();
  server.close();
});

function open(change: Partial<OidcConfig> = {}): Oidc {
  const rules: OidcConfig['rules'] = [
    { where: new Map([['repository', ['org/*']], ['ref', ['refs/heads/main']]]), names: ['docker.io/org/*'], views: undefined, may: ['pull', 'push'] },
    { where: new Map([['environment', ['production']]]), names: ['*'], views: undefined, may: ['pull'] },
  ];
  const log = { warn: () => undefined, error: (_: object, message: string) => void logged.push(message) };
  const made = createOidc([{ issuer, audience: ['umbra', 'umbra-too'], ca: undefined, rules, ...change }], { nowMs: () => clockMs, log, deadline: () => hangUp.signal });
  opened.push(made);
  return made;
}

const CLAIMS = { repository: 'org/app', ref: 'refs/heads/main', sub: 'repo:org/app' };
const seconds = (): number => Math.floor(clockMs / 1000);
type Change = Readonly<Record<string, unknown>>;
const payload = (change: Change = {}): JWTPayload => ({ iss: issuer, aud: 'umbra', iat: seconds(), exp: seconds() + HOUR, ...CLAIMS, ...change });
const sign = (change: Change = {}, header: Readonly<Record<string, unknown>> = {}, signer: CryptoKey = key): Promise<string> =>
  new SignJWT(payload(change)).setProtectedHeader({ alg: 'RS256', kid: 'k1', ...header }).sign(signer);

/** The user, or what is wrong. */
async function outcome(token: string, by = oidc): Promise<string> {
  const login = await by.check(new Secret(token));
  if (login === undefined) return 'no token';
  const said = JSON.stringify(login);
  expect(token.split('.').filter((part) => part !== '' && said.includes(part))).toEqual([]);
  if (login.kind === 'user') return login.user.name;
  return login.undecided === undefined ? login.problem.replaceAll(issuer, 'ISSUER') : `${login.undecided.code}: ${String((login.undecided.cause as Error).message).replaceAll(issuer, 'ISSUER')}`;
}
const name = (): string => `oidc:${new URL(issuer).host}:repo:org/app`;

describe('a token', () => {
  test('that holds is of a user who has what the rules give, for as long as it lasts, and no login beyond', async () => {
    expect(await oidc.check(new Secret(await sign()))).toEqual({
      kind: 'user', user: { name: name(), access: [expect.objectContaining({ actions: 3 })], credential: undefined, endsMs: START_MS + HOUR * 1000 },
    });
    const both = await oidc.check(new Secret(await sign({ environment: 'production', aud: ['x', 'umbra-too'] })));
    expect(both).toMatchObject({ user: { access: [{ actions: 3 }, { actions: 1 }] } });
  });

  test.each<[string, () => string | Promise<string>, string]>([
    ['alg: none', () => new UnsecuredJWT(payload()).encode(), 'the ID token of ISSUER is signed with an algorithm other than RS256, PS256, ES256, EdDSA, Ed25519'],
    ['HS256 with the public key, as PEM', () => new SignJWT(payload()).setProtectedHeader({ alg: 'HS256', kid: 'k1' }).sign(createSecretKey(Buffer.from(publicPem))), 'algorithm other than'],
    ['HS256 with the public key, as published', () => new SignJWT(payload()).setProtectedHeader({ alg: 'HS256', kid: 'k1' }).sign(createSecretKey(Buffer.from(JSON.stringify(jwk)))), 'algorithm other than'],
    ['an algorithm of the same key that is not taken', async () => new SignJWT(payload()).setProtectedHeader({ alg: 'RS512', kid: 'k1' }).sign((await generateKeyPair('RS512')).privateKey), 'algorithm other than'],
    ['a key of its own in the header', () => sign({}, { kid: 'mine', jwk: otherJwk }, other), 'is signed with a key that the issuer does not publish'],
    ['a place for keys in the header', () => sign({}, { kid: 'mine', jku: `${issuer}/mine`, x5u: `${issuer}/mine` }, other), 'a key that the issuer does not publish'],
    ['a kid that is a path', () => sign({}, { kid: '../../../dev/null' }, other), 'a key that the issuer does not publish'],
    ['the kid of another key', () => sign({}, {}, other), 'is not signed with the key that it names'],
    ['something critical that nobody knows', () => new SignJWT(payload()).setProtectedHeader({ alg: 'RS256', kid: 'k1', crit: ['x'], x: 1 }).sign(key, { crit: { x: true } }), 'is not one that can be read'],
    ['another type', () => sign({}, { typ: 'logout+jwt' }), 'is of a type that is no ID token'],
    ['another audience', () => sign({ aud: 'other' }), 'is for another audience: expected umbra or umbra-too'],
    ['no audience', () => sign({ aud: undefined }), 'has no claim "aud"'],
    ['no expiry', () => sign({ exp: undefined }), 'has no claim "exp"'],
    ['no subject', () => sign({ sub: undefined }), 'has no claim "sub"'],
    ['past its expiry', () => sign({ exp: seconds() - 31 }), 'has expired'],
    ['before its time', () => sign({ nbf: seconds() + 31 }), 'is not valid yet'],
    ['claims that no rule fits', () => sign({ ref: 'refs/pull/1/merge' }), 'no rule of auth.oidc[0] fits the ID token of ISSUER: rules[0] expects another "ref"; rules[1] expects another "environment"'],
  ])('with %s is refused in words that say so', async (_, make, message) => {
    expect(await outcome(await make())).toContain(message);
    expect(asked.filter((path) => path === `/mine`)).toEqual([]);
  });

  test('is taken within half a minute of its times, as clocks differ', async () => {
    expect([await outcome(await sign({ exp: seconds() - 29 })), await outcome(await sign({ nbf: seconds() + 29 }))]).toEqual([name(), name()]);
  });

  test.each<[string, () => string | Promise<string>]>([
    ['of another issuer', () => sign({ iss: 'https://elsewhere.example' })],
    ['of an issuer that begins alike', () => sign({ iss: `${issuer}/` })],
    ['with a list of issuers', () => new SignJWT(payload({ iss: [issuer] })).setProtectedHeader({ alg: 'RS256' }).sign(key)],
    ['that is too long', () => sign({ more: 'x'.repeat(16_384) })],
    ['that is none', () => 'a.b.c'],
    ['whose content is no object', () => `e30.${Buffer.from('"x"').toString('base64url')}.x`],
    ['with space around it', async () => ` ${await sign()}`],
  ])('%s is an ordinary password, and nobody is asked', async (_, make) => {
    expect(await outcome(await make())).toBe('no token');
    expect(asked).toEqual([]);
  });
});

describe('keys', () => {
  test('are asked for once, by many at once, and kept', async () => {
    const tokens = await Promise.all(Array.from({ length: 20 }, (_, n) => sign({ jti: String(n) })));
    expect(new Set(await Promise.all(tokens.map((token) => outcome(token))))).toEqual(new Set([name()]));
    clockMs += 4 * 60_000;
    await outcome(await sign());
    expect(asked).toEqual(['/.well-known/openid-configuration', '/keys']);
  });

  test('that came since are asked for, at most every half minute, whatever tokens name', async () => {
    await outcome(await sign());
    keys = [otherJwk, jwk];
    for (let n = 0; n < 20; n++) expect(await outcome(await sign({}, { kid: `unknown ${n}` }))).toContain('a key that the issuer does not publish');
    expect(asked).toHaveLength(2);
    clockMs += 30_000;
    expect(await outcome(await sign({}, { kid: 'k2' }, other))).toBe(name());
    for (let n = 0; n < 20; n++) await outcome(await sign({}, { kid: `unknown ${n}` }));
    expect(asked).toHaveLength(4);
  });

  test('that went are taken for gone within minutes', async () => {
    const token = await sign();
    expect(await outcome(token)).toBe(name());
    keys = [otherJwk];
    clockMs += 5 * 60_000;
    await outcome(token); // has them asked for, in the background
    while (!(await outcome(token)).includes('does not publish'));
    expect(asked).toHaveLength(4);
  });

  test('go on for a day while the issuer is away, and no longer', async () => {
    await outcome(await sign());
    answer = (response) => void response.writeHead(500).end();
    clockMs += 23 * HOUR * 1000;
    expect(await outcome(await sign())).toBe(name());
    clockMs += HOUR * 1000;
    expect(await outcome(await sign())).toBe('UNAVAILABLE: ISSUER/.well-known/openid-configuration answered 500: expected 200');
  });

  test('a token with no kid is held against the only key that fits, and refused where there are several', async () => {
    expect(await outcome(await sign({}, { kid: undefined }))).toBe(name());
    keys = [jwk, otherJwk];
    expect(await outcome(await sign({}, { kid: undefined }), open())).toContain('does not say with which of the keys');
  });

  test('for a shared secret in the set, nothing is taken', async () => {
    keys = [{ kty: 'oct', kid: 'k1', k: Buffer.from('published').toString('base64url') }];
    const token = await new SignJWT(payload()).setProtectedHeader({ alg: 'HS256', kid: 'k1' }).sign(createSecretKey(Buffer.from('published')));
    expect(await outcome(token)).toContain('algorithm other than');
    expect(await outcome(await sign())).toContain('does not publish');
  });
});

describe('an issuer that cannot be used is no reason to refuse: come back later', () => {
  test.each<[string, Answer, string]>([
    ['answers an error', (response) => void response.writeHead(404).end(), 'ISSUER/.well-known/openid-configuration answered 404: expected 200'],
    ['sends elsewhere', (response) => void response.writeHead(302, { location: '/keys' }).end(), 'ISSUER/.well-known/openid-configuration answered 302: expected 200'],
    ['sends elsewhere for keys', onKeys((response) => void response.writeHead(307, { location: '/mine' }).end()), 'ISSUER/keys answered 307: expected 200'],
    ['is another', (response) => json(response, { issuer: 'https://elsewhere.example', jwks_uri: `${issuer}/keys` }), 'is about another issuer: expected ISSUER, to the letter'],
    ['names no keys', (response) => json(response, { issuer }), 'names no jwks_uri that keys can be had from'],
    ['names a file', (response) => json(response, { issuer, jwks_uri: 'file:///etc/passwd' }), 'names no jwks_uri that keys can be had from'],
    ['does not speak JSON', (response) => void response.end('<html>'), 'did not answer with JSON'],
    ['has a list', (response) => json(response, null), 'did not answer with a JSON object'],
    ['has keys that are none', onKeys((response) => json(response, { keys: ['x'] })), 'ISSUER/keys did not answer with a JWK Set'],
    ['has very many keys', onKeys((response) => json(response, { keys: Array.from({ length: 101 }, () => jwk) })), 'ISSUER/keys answered 101 keys: expected at most 100'],
    ['has very large keys', onKeys((response) => json(response, { keys, more: 'x'.repeat(512 * 1024) })), 'ISSUER/keys answered more than 524288 bytes'],
    ['hangs up', (response) => void response.destroy(), 'cannot be reached'],
    ['hangs up on the way', onKeys((response) => { response.writeHead(200, { 'content-length': '100' }); response.write('{'); setImmediate(() => response.destroy()); }), 'cannot be reached'],
    ['does not answer', (response) => void (hangUp.abort(new Error('no answer in time')), response), 'no answer in time'],
    ['does not come to an end', onKeys((response) => { response.write('{'); hangUp.abort(new Error('no end in time')); }), 'no end in time'],
  ])('where it %s', async (_, does, message) => {
    answer = does;
    expect(await outcome(await sign())).toContain(message);
    expect(await outcome(await sign())).toMatch(/^UNAVAILABLE: /);
    expect(asked.length).toBeLessThanOrEqual(2); // not again at once
    expect(asked).not.toContain('/mine');
    expect(logged).toHaveLength(1);
  });

  test('and it is asked again after some seconds', async () => {
    answer = (response) => void response.writeHead(503).end();
    await outcome(await sign());
    answer = honest;
    expect(await outcome(await sign())).toMatch(/^UNAVAILABLE/);
    clockMs += 5_000;
    expect(await outcome(await sign())).toBe(name());
  });

  test('an https issuer does not send for keys over plain http, and is trusted by the authority that is named', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'umbra-oidc-'));
    const authority = await makeAuthority(folder);
    const leaf = await authority.issue('issuer');
    const secure = createSecureServer({ cert: await readFile(leaf.certFile), key: await readFile(leaf.keyFile) }, (request, response) => answer(response, request.url ?? ''));
    secure.listen(0, '127.0.0.1');
    await once(secure, 'listening');
    const plain = issuer;
    issuer = `https://127.0.0.1:${(secure.address() as AddressInfo).port}`; // not a pipe
    try {
      expect(await outcome(await sign(), open())).toContain('name the authority that signed it in auth.oidc[0].ca');
      expect(await outcome(await sign(), open({ ca: authority.pem }))).toBe(name());
      answer = (response) => json(response, { issuer, jwks_uri: `${plain}/keys` });
      expect(await outcome(await sign(), open({ ca: authority.pem }))).toContain('names no jwks_uri that keys can be had from: expected an https URL');
    } finally {
      secure.closeAllConnections();
      secure.close();
      await rm(folder, { recursive: true });
    }
  });
});
