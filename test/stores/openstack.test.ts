/** That the services which the other tests here stand on are what they are taken for. */
import { expect, inject, test } from 'vitest';
import { freshContainer } from '../services/openstack.ts';

test('Keystone gives a token that Swift keeps bytes for', async () => {
  const { authUrl, username, password, project, domain, accountUrl } = inject('openstack');
  const login = await fetch(`${authUrl}/auth/tokens`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({
      auth: {
        identity: { methods: ['password'], password: { user: { name: username, domain: { name: domain }, password } } },
        scope: { project: { name: project, domain: { name: domain } } },
      },
    }),
  });
  expect(login.status).toBe(201);
  const headers = { 'X-Auth-Token': login.headers.get('X-Subject-Token') ?? '' };
  const container = `${accountUrl}/${freshContainer('probe')}`;
  expect((await fetch(container, { method: 'PUT', headers })).status).toBe(201);
  expect((await fetch(`${container}/object`, { method: 'PUT', headers, body: 'bytes' })).status).toBe(201);
  expect(await (await fetch(`${container}/object`, { headers })).text()).toBe('bytes');
  expect((await fetch(`${container}/object`, { method: 'DELETE', headers })).status).toBe(204);
  expect((await fetch(container, { method: 'DELETE', headers })).status).toBe(204);
});
