import { expect, test } from 'vitest';
import { Secret } from '../../config/config.ts';
import type { CloudSettings } from '../keystone/settings.ts';
import type { CredentialMode } from '../words.ts';
import { callerProblem, modeProblem, type Caller } from './demands.ts';

const CLOUD: CloudSettings = {
  url: 'https://keystone.example.org/v3', region: undefined, interface: 'public', ca: undefined, insecure: false, openProject: false, accessRules: false,
  service: { user: { id: 'u' }, password: new Secret('p'), project: { id: 'p' } },
  trusteeDomain: { domain: { name: 'umbra' }, admin: 'a', password: new Secret('p') },
  serviceProject: { id: 's' },
  roles: { node: 'registry_user', delegated: ['registry_user', 'reader'] },
};
const CALLER: Caller = { methods: ['password'], roles: ['member', 'Registry_User', 'reader'], byTrust: false };

test.each<[string, CredentialMode, Partial<CloudSettings>, string | undefined]>([
  ['acl with both', 'acl', {}, undefined],
  ['acl without a service project', 'acl', { serviceProject: undefined }, 'registry_credential_mode acl is not available here: clusters.serviceProject is not configured'],
  ['acl without a domain', 'acl', { trusteeDomain: undefined }, 'clusters.trusteeDomain is not configured'],
  ['trust without a service project', 'trust', { serviceProject: undefined }, undefined],
  ['trust without a domain', 'trust', { trusteeDomain: undefined }, 'clusters.trusteeDomain is not configured'],
  ['app_cred with neither', 'app_cred', { serviceProject: undefined, trusteeDomain: undefined }, undefined],
])('what a service can do: %s', (_name, mode, change, expected) => {
  const problem = modeProblem(mode, { ...CLOUD, ...change });
  if (expected === undefined) expect(problem).toBeUndefined();
  else expect(problem).toEqual({ status: 400, reason: expect.stringContaining(expected) });
});

test.each<[string, CredentialMode, Partial<Caller>, string | undefined]>([
  ['who has the roles', 'trust', {}, undefined],
  ['any token, in acl', 'acl', { methods: ['application_credential'], roles: [] }, undefined],
  ['an application credential', 'trust', { methods: ['token', 'application_credential'] }, 'Keystone does not let an application credential make a trust, which registry_credential_mode trust needs: log in with user name and password'],
  ['an application credential', 'app_cred', { methods: ['application_credential'] }, 'make an application credential'],
  ['a trust', 'trust', { byTrust: true }, 'Keystone does not let a trust make a trust'],
  ['who lacks a role', 'app_cred', { roles: ['member'] }, 'you lack the role registry_user, reader in this project'],
])('what a caller may have: %s, in %s', (_name, mode, change, expected) => {
  const problem = callerProblem(mode, CLOUD, { ...CALLER, ...change });
  if (expected === undefined) expect(problem).toBeUndefined();
  else expect(problem).toEqual({ status: 403, reason: expect.stringContaining(expected) });
});
