import { describe, expect, test } from 'vitest';
import { parseViewId } from '../oci/name.ts';
import { ANONYMOUS, type Identity } from './identity.ts';
import { pingNeedsChallenge, refuse, type Wanted } from './refusal.ts';

const view = parseViewId('main');
const user: Identity = { kind: 'user', name: 'ci', access: 'pull' };
const token: Identity = { kind: 'token', subject: 'ci', view, grants: [], expiresAtMs: 0 };
const stranger: Identity = { kind: 'stranger', problem: 'wrong user name or password' };
const invalid: Identity = { kind: 'invalid', problem: 'the token has expired' };
const closed = { mirror: false, open: false };
const open = { mirror: false, open: true };
const mirror = { mirror: true, open: false };

describe('does /v2/ ask to authenticate?', () => {
  test.each([
    ['anonymous', ANONYMOUS, closed, true],
    ['a user', user, closed, false],
    ['a token', token, closed, false],
    ['a stranger', stranger, closed, true],
    ['an invalid token', invalid, closed, true],
    ['anonymous, nobody to log in as', ANONYMOUS, open, false],
    ['an invalid token, nobody to log in as', invalid, open, true],
    ['anonymous, on a mirror', ANONYMOUS, mirror, false],
    ['a stranger, on a mirror', stranger, mirror, false],
    ['an invalid token, on a mirror', invalid, mirror, false],
  ] as const)('%s: %#', (_, identity, facts, expected) => {
    expect(pingNeedsChallenge(identity, facts)).toBe(expected);
  });
});

describe('a refusal', () => {
  const pull: Wanted = { kind: 'repository', action: 'pull', view, spelling: 'org/app', ns: undefined };
  const push: Wanted = { ...pull, action: 'push' };
  const start = 'Bearer realm="http://r:5000/auth/token",service="umbra"';
  test.each<[string, Identity, Wanted, typeof closed, string, string, string | undefined]>([
    ['anonymous pull', ANONYMOUS, pull, closed, 'UNAUTHORIZED', 'authentication required to pull org/app (view main)', ',scope="repository:org/app:pull"'],
    ['anonymous push', ANONYMOUS, push, closed, 'UNAUTHORIZED', 'authentication required to push to org/app (view main)', ',scope="repository:org/app:pull,push"'],
    ['anonymous delete', ANONYMOUS, { ...pull, action: 'delete' }, closed, 'UNAUTHORIZED', 'authentication required to delete from org/app (view main)', ',scope="repository:org/app:delete"'],
    ['with ns', ANONYMOUS, { ...pull, ns: 'quay.io' }, closed, 'UNAUTHORIZED', 'authentication required to pull org/app (view main)', ',scope="repository:quay.io/org/app:pull"'],
    ['ping', ANONYMOUS, { kind: 'ping' }, closed, 'UNAUTHORIZED', 'authentication required to use this registry', ''],
    ['the catalogue', ANONYMOUS, { kind: 'catalog', view, prefix: undefined }, closed, 'UNAUTHORIZED', 'authentication required to list the catalogue (view main)', ',scope="registry:catalog:*"'],
    ["a view's catalogue", ANONYMOUS, { kind: 'catalog', view, prefix: view }, closed, 'UNAUTHORIZED', 'authentication required to list the catalogue (view main)', ',scope="registry:main.view/catalog:*"'],
    ['administering has no scope', ANONYMOUS, { ...pull, action: 'admin' }, closed, 'UNAUTHORIZED', 'authentication required to administer org/app (view main)', ''],
    ['a token without that', token, push, closed, 'UNAUTHORIZED', 'the token does not allow ci to push to org/app (view main)', ',scope="repository:org/app:pull,push",error="insufficient_scope"'],
    ['an invalid token', invalid, pull, closed, 'UNAUTHORIZED', 'cannot pull org/app (view main): the token has expired', ',scope="repository:org/app:pull",error="invalid_token"'],
    ['wrong credentials', stranger, push, closed, 'UNAUTHORIZED', 'cannot push to org/app (view main): wrong user name or password', ',scope="repository:org/app:pull,push"'],
    ['a user: other credentials would be another user', user, push, closed, 'DENIED', 'ci may not push to org/app (view main)', undefined],
    ['nobody to log in as', ANONYMOUS, push, open, 'DENIED', 'nobody may push to org/app (view main): no users are configured', undefined],
    ['an invalid token, nobody to log in as', invalid, push, open, 'UNAUTHORIZED', 'cannot push to org/app (view main): the token has expired', ',scope="repository:org/app:pull,push",error="invalid_token"'],
    ['a mirror does not challenge', ANONYMOUS, pull, mirror, 'DENIED', 'anonymous may not pull org/app (view main)', undefined],
    ['a mirror is for pulling', user, push, mirror, 'UNSUPPORTED', 'cannot push to org/app (view main): this address is a mirror, for pulling only', undefined],
  ])('%s', (_, identity, wanted, facts, code, message, challenge) => {
    const refusal = refuse(identity, wanted, facts, 'http://r:5000');
    expect(refusal.error).toMatchObject({ code, message });
    expect(refusal.challenge).toBe(challenge === undefined ? undefined : start + challenge);
  });
});
