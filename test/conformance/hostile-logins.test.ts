/**
 * Hostile text where a client says who it is and where it goes, before anything is known of it: the fields of the form
 * of `POST /auth/token`, and a Host header under `views.hostSuffix`. Other places: `hostile-values.test.ts`.
 */
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startUmbra, type TestUmbra } from '../support/umbra.ts';
import { exchange, openClient, type Client } from './client.ts';
import { HOSTILE_VALUES } from './hostile.ts';

const SECRET = 'what lies beside the store';
const SUFFIX = 'views.example.org';
const LOGIN = { name: 'ci', password: 'pw:ci' };

let folder: string;
let umbra: TestUmbra;
let client: Client;
let lines: string[];
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'umbra-hostile-'));
  mkdirSync(join(folder, 'outside', 'store'), { recursive: true });
  for (const place of ['secret', 'outside/secret']) writeFileSync(join(folder, place), SECRET);
  lines = [];
  umbra = await startUmbra(
    {
      storage: { driver: 'filesystem', root: join(folder, 'outside', 'store') },
      auth: { anonymous: 'pull', keyFile: join(folder, 'key'), users: [{ ...LOGIN, access: 'push' }] },
      views: { hostSuffix: SUFFIX, define: { staging: { parents: ['main'] } } },
      trustedProxies: ['127.0.0.1'],
    },
    { log: (line) => void lines.push(line) },
  );
  client = openClient(umbra.origin);
});
afterAll(async () => {
  await client?.close();
  await umbra?.close();
  rmSync(folder, { recursive: true, force: true });
});

function expectNothingTouched(): void {
  expect(readdirSync(folder).sort()).toEqual(['key', 'outside', 'secret']);
  expect(readdirSync(join(folder, 'outside')).sort()).toEqual(['secret', 'store']);
  // A line of the log is one line, whatever it tells of.
  for (const line of lines.splice(0)) expect(() => JSON.parse(line) as unknown, line).not.toThrow();
}

describe('a field of the form of POST /auth/token', () => {
  const password = (fields: Readonly<Record<string, string>>): string => Object.entries({ grant_type: 'password', username: LOGIN.name, password: encodeURIComponent(LOGIN.password), ...fields }).map(([key, value]) => `${key}=${value}`).join('&');
  const scope = 'repository:org/app:pull,push';
  /** The form for a value, and what it may be answered: 200 only where the field has no say in who somebody is. */
  const FIELDS: readonly (readonly [string, (value: string) => string, readonly number[]])[] = [
    ['username', (v) => password({ username: v, scope }), [401]],
    ['username, of a pull that anybody may', (v) => password({ username: v, scope: 'repository:org/app:pull' }), [200]],
    ['password', (v) => password({ password: v, scope }), [401]],
    ['scope', (v) => password({ scope: v }), [200, 400]],
    ['scope, as a name', (v) => password({ scope: `repository:${v}:pull,push` }), [200, 400]],
    ['scope, as a view', (v) => password({ scope: `repository:${v}.view/app:pull` }), [200, 400]],
    ['scope, as an action', (v) => password({ scope: `repository:app:${v}` }), [200, 400]],
    ['scope, as a type', (v) => password({ scope: `${v}:app:pull` }), [200, 400]],
    ['service, client_id and account', (v) => password({ service: v, client_id: v, account: v, scope }), [200]],
    ['access_type', (v) => password({ access_type: v, scope }), [200]],
    ['grant_type', (v) => password({ grant_type: v, scope }), [400]],
    ['refresh_token', (v) => `grant_type=refresh_token&refresh_token=${v}&scope=${scope}`, [401]],
    ['subject_token', (v) => `grant_type=urn:ietf:params:oauth:grant-type:token-exchange&subject_token=${v}&subject_token_type=${v}&scope=${scope}`, [401]],
    ['a field of that name', (v) => password({ [v]: v, scope }), [200]],
  ];

  test.each(FIELDS)('%s', async (_, form, statuses) => {
    for (const [index, value] of HOSTILE_VALUES.entries()) {
      // Each from an address of its own: who guesses too often is not looked at any more.
      const headers = { 'content-type': 'application/x-www-form-urlencoded', 'x-forwarded-for': `192.0.2.${index + 1}` };
      const answer = await client.send('POST', '/auth/token', { headers, body: form(value) });
      const about = `${value.slice(0, 100)}: ${answer.status} ${answer.body.toString().slice(0, 300)}`;
      expect(statuses, about).toContain(answer.status);
      expect(answer.header('x-injected'), about).toBeUndefined();
      expect(answer.body.length, about).toBeLessThan(2000);
      expect(answer.body.toString(), about).not.toContain(SECRET);
      if (answer.status >= 400) expect(answer.json(), about).toMatchObject({ errors: [{ code: expect.stringMatching(/^[A-Z_]+$/) as string }] });
    }
    expectNothingTouched();
  });

  test('the login is good where nothing is hostile', async () => {
    const headers = { 'content-type': 'application/x-www-form-urlencoded' };
    expect((await client.send('POST', '/auth/token', { headers, body: password({ scope }) })).json()).toMatchObject({ scope });
  });
});

describe('a Host header under views.hostSuffix', () => {
  const ask = (target: string, host: string, method = 'GET'): Promise<string> => exchange(umbra.origin, Buffer.from(`${method} ${target} HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`, 'latin1'));
  const HOSTS: readonly (readonly [string, (value: string) => string])[] = [
    ['as the view', (v) => `${v}.${SUFFIX}`],
    ['before the view', (v) => `${v}.staging.${SUFFIX}`],
    ['as the port', (v) => `staging.${SUFFIX}:${v}`],
    ['after the suffix', (v) => `staging.${SUFFIX}${v}`],
  ];
  const TARGETS = [['GET', '/v2/app/tags/list'], ['GET', '/v2/_catalog'], ['POST', '/v2/app/blobs/uploads/'], ['GET', '/auth/token?scope=repository:app:pull']] as const;

  test.each(HOSTS)('%s takes no hostile value', async (_, host) => {
    for (const value of HOSTILE_VALUES) {
      // As it is written, and as the bytes that it stands for.
      for (const written of [value, Buffer.from(value.replace(/%([0-9a-f]{2})/gi, (__, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))), 'latin1').toString('latin1')]) {
        for (const [method, target] of TARGETS) {
          const answer = await ask(target, host(written), method);
          const about = `${method} ${target} ${JSON.stringify(written.slice(0, 100))}: ${answer.slice(0, 500)}`;
          // Refused, or of no view and so the listener's; cut off where it is no HTTP, or two requests by now.
          expect(answer, about).toMatch(/^$|^HTTP\/1\.1 (200|400|401|404|431) /);
          if (answer === '') expect(written, about).toMatch(/\r\n/);
          const [head = '', body = ''] = answer.split('\r\n\r\n');
          expect(head, about).not.toMatch(/^X-Injected/im);
          // In a challenge it stands quoted.
          for (const [, value] of head.matchAll(/^WWW-Authenticate: (.*)$/gim)) expect(value, about).toMatch(/^(Bearer|Basic) realm="(?:[^"\\\r\n]|\\.)*"(,[a-z]+="(?:[^"\\\r\n]|\\.)*")*$/);
          expect(body, about).not.toContain(SECRET);
          if (answer.startsWith('HTTP/1.1 4') && body !== '') expect(JSON.parse(body), about).toMatchObject({ errors: [{ code: expect.stringMatching(/^[A-Z_]+$/) as string }] });
        }
      }
    }
    expectNothingTouched();
  });

  test('names a view where it names one', async () => {
    expect(await ask('/auth/token?scope=repository:app:pull', `staging.${SUFFIX}`)).toMatch(/^HTTP\/1\.1 200 /);
    expect(await ask('/v2/app/tags/list', `unknown.${SUFFIX}`)).toMatch(/^HTTP\/1\.1 404 .*NAME_UNKNOWN.*no view unknown/s);
    expect(await ask('/v2/app/tags/list', `../staging.${SUFFIX}`)).toMatch(/^HTTP\/1\.1 400 /);
  });
});
