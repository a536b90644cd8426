import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ViewId } from '../oci/name.ts';
import { enter, spell, type EntranceContext } from './names.ts';

const plain: EntranceContext = { defaultUpstream: 'docker.io', hostHeader: 'localhost:5000', viewHostSuffix: undefined };
const quay: EntranceContext = { ...plain, defaultUpstream: 'quay.io' };
const suffixed: EntranceContext = { ...plain, hostHeader: 'change-7.views.example.org:5000', viewHostSuffix: 'views.example.org' };

describe('entrances lead to one name (DESIGN section 3)', () => {
  it.each<[spelling: string, ns: string | undefined, context: EntranceContext, name: string, view: string | undefined]>([
    ['quay.io/org/app', undefined, plain, 'quay.io/org/app', undefined],
    ['org/app', 'quay.io', plain, 'quay.io/org/app', undefined],
    ['org/app', undefined, plain, 'docker.io/org/app', undefined],
    ['org/app', undefined, quay, 'quay.io/org/app', undefined],
    ['nginx', undefined, plain, 'docker.io/library/nginx', undefined],
    ['nginx', undefined, quay, 'quay.io/nginx', undefined],
    ['docker.io/nginx', undefined, plain, 'docker.io/library/nginx', undefined],
    ['docker.io/library/nginx', undefined, quay, 'docker.io/library/nginx', undefined],
    ['library/nginx', undefined, plain, 'docker.io/library/nginx', undefined],
    ['nginx', 'docker.io', quay, 'docker.io/library/nginx', undefined],
    ['nginx', 'Docker.IO', quay, 'docker.io/library/nginx', undefined],
    ['index.docker.io/nginx', undefined, plain, 'docker.io/library/nginx', undefined],
    ['registry-1.docker.io/library/nginx', undefined, plain, 'docker.io/library/nginx', undefined],
    ['nginx', 'registry-1.docker.io', plain, 'docker.io/library/nginx', undefined],
    ['quay.io/org/app', 'docker.io', plain, 'quay.io/org/app', undefined],
    ['localhost/app', undefined, plain, 'localhost/app', undefined],
    ['localhost:5000/org/app', undefined, plain, 'localhost:5000/org/app', undefined],
    ['registry:5000/app', undefined, plain, 'registry:5000/app', undefined],
    ['my.app', undefined, plain, 'docker.io/library/my.app', undefined],
    ['staging.view/org/app', undefined, plain, 'docker.io/org/app', 'staging'],
    ['staging.view/quay.io/org/app', undefined, plain, 'quay.io/org/app', 'staging'],
    ['staging.view/org/app', 'quay.io', plain, 'quay.io/org/app', 'staging'],
    ['staging.view/nginx', undefined, plain, 'docker.io/library/nginx', 'staging'],
    ['org/app', undefined, suffixed, 'docker.io/org/app', 'change-7'],
    ['staging.view/org/app', undefined, suffixed, 'docker.io/org/app', 'staging'],
  ])('%s?ns=%s', (spelling, ns, context, name, view) => {
    expect(enter(spelling, ns, context)).toMatchObject({ name, view, spelling });
  });

  it.each([
    ['a trailing slash', 'org/app/'],
    ['an upper-case path', 'Org/App'],
    ['dots that climb', '../../etc'],
    ['dots that climb behind a host', 'quay.io/../x'],
    ['an empty component', 'org//app'],
    ['a leading slash', '/org/app'],
    ['a component that begins with _', 'org/_tags'],
    ['a view of no name', 'staging.view'],
    ['a view inside a view', 'a.view/b.view/org/app'],
    ['a view that is no label', 'Sta_ging.view/org/app'],
    ['a NUL', 'org/a\0pp'],
    ['too many characters', 'a'.repeat(600)],
    ['a port that is none', 'quay.io:port/app'],
  ])('refuses %s', (_, spelling) => {
    expect(() => enter(spelling, undefined, plain)).toThrow(expect.objectContaining({ code: 'NAME_INVALID' }));
  });

  it.each(['bad host', '../x', 'a/b', 'x\r\ny'])('refuses ns=%s', (ns) => {
    expect(() => enter('org/app', ns, plain)).toThrow(expect.objectContaining({ code: 'NAME_INVALID' }));
  });
});

const component = fc.stringMatching(/^[a-z0-9]{1,8}([._-][a-z0-9]{1,4})?$/).filter((c) => !c.endsWith('.view'));
const path = fc.array(component, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/')).filter((p) => !p.split('/')[0]?.includes('.') && !p.startsWith('localhost/'));
const host = fc.constantFrom('docker.io', 'quay.io', 'ghcr.io', 'localhost:5000', '[::1]:5000');

describe('properties of names', () => {
  it('every spelling of one image is one name', () => {
    fc.assert(fc.property(host, path, fc.constantFrom(plain, quay), (at, image, context) => {
      const byPath = enter(`${at}/${image}`, undefined, context);
      expect(enter(image, at, context).name).toBe(byPath.name);
      expect(enter(`staging.view/${at}/${image}`, undefined, context).name).toBe(byPath.name);
      expect(enter(byPath.name, undefined, context).name).toBe(byPath.name);
      expect(enter(image, undefined, { ...context, defaultUpstream: at }).name).toBe(byPath.name);
    }));
  });

  it('what the catalogue spells leads back to the name', () => {
    fc.assert(fc.property(host, path, fc.constantFrom(plain, quay), fc.constantFrom(undefined, 'staging' as ViewId), (at, image, context, viewPrefix) => {
      const { name } = enter(`${at}/${image}`, undefined, context);
      const spelled = spell(name, { defaultUpstream: context.defaultUpstream, viewPrefix });
      expect(enter(spelled, undefined, context)).toMatchObject({ name, view: viewPrefix });
    }));
  });

  it('anything else is refused or is canonical, and never throws something that is not an answer', () => {
    fc.assert(fc.property(fc.string({ maxLength: 300 }), fc.option(fc.string({ maxLength: 60 }), { nil: undefined }), (spelling, ns) => {
      try {
        const { name } = enter(spelling, ns, plain);
        expect(name).toMatch(/^[a-z0-9[\]:.-]+\/[a-z0-9._/-]+$/);
        expect(name).not.toMatch(/(^|\/)(\.{1,2}|_[^/]*)(\/|$)/);
      } catch (error) {
        expect(error).toMatchObject({ code: 'NAME_INVALID' });
      }
    }));
  });
});
