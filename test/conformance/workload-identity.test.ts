/** ID tokens of a real issuer as passwords, over HTTP: what gets in, as what, and for how long. */
import { decodeJwt } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { OidcProvider, type Algorithm } from '../services/oidc-provider.ts';
import { startUmbra, type TestUmbra } from '../support/umbra.ts';

const AUDIENCE = 'https://registry.example.org';
const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const PUSH = 'repository:org/app:pull,push';

let provider: OidcProvider;
let umbra: TestUmbra;
let log = '';
/** What was sent as a password. */
const sent: string[] = [];
beforeAll(async () => {
  provider = await OidcProvider.start();
  umbra = await startUmbra(
    {
      auth: {
        anonymous: 'none',
        users: [{ name: 'dev', password: jwtLike(provider.issuer), access: 'pull' }],
        oidc: [{
          issuer: provider.issuer, audience: AUDIENCE,
          rules: [
            { claims: { repository: 'org/*', ref: 'refs/heads/main' }, names: ['docker.io/org/*'], may: ['pull', 'push'] },
            { claims: { 'kubernetes.io.namespace': ['build', 'test'] }, names: ['*'], may: ['pull'] },
            { claims: { repository: 'org/*' }, names: ['docker.io/org/*'], views: ['change-{build}'], may: ['push'] },
          ],
        }],
      },
      views: { define: { 'change-7f3a': { parents: ['main'] } } },
    },
    { log: (line) => void (log += line) },
  );
});
afterAll(async () => {
  await umbra?.close();
  await provider?.[Symbol.asyncDispose]();
});

/** A password that has the shape of a token of the issuer, and is none. */
function jwtLike(issuer: string): string {
  return ['{"alg":"RS256"}', JSON.stringify({ iss: issuer }), 'x'].map((part) => Buffer.from(part).toString('base64url')).join('.');
}

async function idToken(claims: object, algorithm?: Algorithm, audience = AUDIENCE): Promise<string> {
  provider.claims = { ...claims };
  const token = await provider.token({ audience, ...(algorithm && { algorithm }) });
  sent.push(token);
  return token;
}

const MAIN = { repository: 'org/app', ref: 'refs/heads/main' };
const basic = (password: string, user = 'oidc'): Readonly<Record<string, string>> => ({ authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}` });

interface TokenAnswer {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>> & { readonly token: string };
}
async function tokenBy(init: RequestInit, query = ''): Promise<TokenAnswer> {
  const answer = await fetch(`${umbra.origin}/auth/token?${query}`, init);
  return { status: answer.status, body: (await answer.json()) as TokenAnswer['body'] }; // JSON
}
const form = (fields: Readonly<Record<string, string>>): RequestInit => ({ method: 'POST', body: new URLSearchParams(fields) });
const begin = async (path: string, headers: Readonly<Record<string, string>>): Promise<number> => (await fetch(`${umbra.origin}/v2/${path}/blobs/uploads/`, { method: 'POST', headers })).status;

describe('a token of the issuer', () => {
  test.each<Algorithm>(['RS256', 'PS256', 'ES256', 'EdDSA'])('signed with %s is a password', async (algorithm) => {
    expect(await begin('org/app', basic(await idToken(MAIN, algorithm)))).toBe(202);
  });

  test.each<[string, (token: string) => RequestInit, string]>([
    ['GET, as docker login does', (token) => ({ headers: basic(token, 'whoever') }), `offline_token=true&scope=${PUSH}`],
    ['the password grant', (token) => form({ grant_type: 'password', username: 'oidc', password: token, access_type: 'offline', scope: PUSH }), ''],
    ['a token exchange', (token) => form({ grant_type: EXCHANGE, subject_token: token, subject_token_type: 'urn:ietf:params:oauth:token-type:id_token', scope: PUSH }), ''],
  ])('is traded for one of ours by %s, and for no login that outlasts it', async (how, init, query) => {
    const { status, body } = await tokenBy(init(await idToken(MAIN)), query);
    expect([status, body['refresh_token'], body['scope']]).toEqual([200, undefined, PUSH]);
    expect(decodeJwt(body.token)).toMatchObject({ sub: `oidc:${new URL(provider.issuer).host}:ci` });
    expect(body['issued_token_type']).toBe(how === 'a token exchange' ? 'urn:ietf:params:oauth:token-type:access_token' : undefined);
    expect([await begin('org/app', { authorization: `Bearer ${body.token}` }), await begin('org/other', { authorization: `Bearer ${body.token}` })]).toEqual([202, 401]);
  });

  test('may do what the rules say, by claims within claims, too, and no more', async () => {
    const pod = basic(await idToken({ 'kubernetes.io': { namespace: 'build' } }));
    expect(await begin('org/app', pod)).toBe(403);
    expect((await fetch(`${umbra.origin}/v2/quay.io/any/thing/tags/list`, { headers: pod })).status).toBe(404);
    expect(await begin('quay.io/org/app', basic(await idToken(MAIN)))).toBe(403);
  });

  test('pushes to the view that its claim names, and to no other', async () => {
    const build = basic(await idToken({ ...MAIN, ref: 'refs/pull/1', build: '7f3a' }));
    expect([await begin('change-7f3a.view/org/app', build), await begin('org/app', build)]).toEqual([202, 403]);
  });

  test.each<[string, object, string | undefined, string]>([
    ['that no rule fits', { repository: 'mallory/app', ref: 'refs/heads/main' }, undefined, 'no rule of auth.oidc[0] fits the ID token of $ISSUER: rules[0] expects another "repository"; rules[1] expects another "kubernetes.io.namespace"; rules[2] expects another "repository"'],
    ['for somebody else', MAIN, 'https://elsewhere.example.org', `the ID token of $ISSUER is for another audience: expected ${AUDIENCE}`],
  ])('%s is refused, and it is said why', async (_, claims, audience, message) => {
    const token = await idToken(claims, 'RS256', audience);
    const expected = { errors: [{ code: 'UNAUTHORIZED', message: message.replace('$ISSUER', provider.issuer) }] };
    expect(await tokenBy({ headers: basic(token) }, `scope=${PUSH}`)).toEqual({ status: 401, body: expected });
    const answer = await fetch(`${umbra.origin}/v2/`, { headers: basic(token) });
    expect([answer.status, await answer.text()]).toEqual([401, expect.stringContaining(JSON.stringify(expected.errors[0]?.message).slice(1, -1)) as string]);
  });

  test('of nobody is no exchange', async () => {
    expect(await tokenBy(form({ grant_type: EXCHANGE, subject_token: 'x', scope: PUSH }))).toMatchObject({ status: 401, body: { errors: [{ message: 'the token is not of an issuer that is known here' }] } });
  });
});

test('a user whose password looks like a token of the issuer logs in with it', async () => {
  expect((await fetch(`${umbra.origin}/v2/`, { headers: basic(jwtLike(provider.issuer), 'dev') })).status).toBe(200);
  expect((await fetch(`${umbra.origin}/v2/`, { headers: basic(jwtLike(provider.issuer), 'other') })).status).toBe(401);
});

test('tokens that do not hold are no guesses: the address is not made to wait', async () => {
  const token = await idToken({ repository: 'mallory/app' });
  for (let n = 0; n < 60; n++) expect((await fetch(`${umbra.origin}/v2/`, { headers: basic(`${token.slice(0, -9)}${100_000_000 + n}`) })).status).toBe(401);
});

test('no token is in the log', () => {
  expect(log).toContain('/v2/org/app/blobs/uploads/');
  expect(sent.flatMap((token) => token.split('.')).filter((part) => log.includes(part))).toEqual([]);
});
