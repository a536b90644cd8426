import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { routeOf, type Route } from './route.ts';

describe('paths', () => {
  it.each<[string, Route]>([
    ['/v2/', { kind: 'ping' }],
    ['/v2', { kind: 'ping' }],
    ['/v2/_catalog', { kind: 'catalogue', view: undefined }],
    ['/v2/staging.view/_catalog', { kind: 'catalogue', view: 'staging' }],
    ['/auth/token', { kind: 'token' }],
    ['/healthz', { kind: 'healthz' }],
    ['/readyz', { kind: 'readyz' }],
    ['/metrics', { kind: 'metrics' }],
    ['/v2/a/manifests/latest', { kind: 'manifest', name: 'a', reference: 'latest' }],
    ['/v2/a/b/c/manifests/sha256:ab', { kind: 'manifest', name: 'a/b/c', reference: 'sha256:ab' }],
    ['/v2/a/manifests/b/manifests/c', { kind: 'manifest', name: 'a/manifests/b', reference: 'c' }],
    ['/v2/a/blobs/sha256:ab', { kind: 'blob', name: 'a', digest: 'sha256:ab' }],
    ['/v2/a/blobs/uploads/', { kind: 'uploads', name: 'a' }],
    ['/v2/a/blobs/uploads', { kind: 'uploads', name: 'a' }],
    ['/v2/a/blobs/uploads/id', { kind: 'upload', name: 'a', id: 'id' }],
    ['/v2/blobs/uploads/blobs/uploads/id', { kind: 'upload', name: 'blobs/uploads', id: 'id' }],
    ['/v2/a/tags/list', { kind: 'tags', name: 'a' }],
    ['/v2/a/tags/tags/list', { kind: 'tags', name: 'a/tags' }],
    ['/v2/a/referrers/sha256:ab', { kind: 'referrers', name: 'a', digest: 'sha256:ab' }],
  ])('%s', (path, route) => {
    expect(routeOf(path)).toEqual(route);
  });

  it.each(['/', '', '/v1/', '/v2x', '/v2/a', '/v2/manifests/x', '/v2//manifests/x', '/v2/a/manifests/', '/v2/a/blobs/', '/v2/blobs/uploads/', '/v2/a/tags/', '/v2/a/tags/all', '/v2/a/b/_catalog', '/healthz/', '/v2/a/uploads/x'])(
    '%j is no endpoint',
    (path) => {
      const route = routeOf(path);
      // A name that is empty is caught by the grammar of names; anything else is unknown here.
      expect(route.kind === 'unknown' || ('name' in route && route.name === ''), JSON.stringify(route)).toBe(true);
    },
  );

  it('any repository name reaches its endpoint', () => {
    const component = fc.stringMatching(/^[a-z0-9_.:-]{1,12}$/);
    const name = fc.array(component, { minLength: 1, maxLength: 5 }).map((parts) => parts.join('/'));
    fc.assert(fc.property(name, component, (repository, last) => {
      expect(routeOf(`/v2/${repository}/manifests/${last}`)).toEqual({ kind: 'manifest', name: repository, reference: last });
      expect(routeOf(`/v2/${repository}/blobs/uploads/${last}`)).toEqual({ kind: 'upload', name: repository, id: last });
    }));
  });
});
