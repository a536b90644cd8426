/** What becomes of a machine's files, whoever else writes there and whenever the process dies. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Refused } from '../request.ts';
import type { ClientName, Request } from '../request.ts';
import { applyConfig, revertConfig } from './apply.ts';
import type { Outcome } from './apply.ts';
import { Crash, ELSEWHERE, STAGING, TestMachine, ask } from './machine.fixture.ts';
import type { Content } from './machine.fixture.ts';

const DAEMON = 'etc/docker/daemon.json';
const BUILDKIT = 'etc/buildkit/buildkitd.toml';
const REGISTRIES = 'etc/containers/registries.conf.d/900-umbra.conf';
const CONTAINERD = 'etc/containerd/config.toml';
const HOSTS = 'etc/containerd/certs.d/docker.io/hosts.toml';
const LOGINS = 'root/.docker/config.json';

const apply = (machine: TestMachine, clients: readonly ClientName[], changes: Partial<Request> = {}, dieAt?: number): Outcome => applyConfig(machine.machine(dieAt), clients, ask(changes), false);
const revert = (machine: TestMachine, dieAt?: number): Outcome => revertConfig(machine.machine(dieAt), false);

describe('whatever stood there and wherever the process died', () => {
  /** What people may have there: nothing, good files, files that cannot be added to. */
  const contents: Readonly<Record<string, readonly Content[]>> = {
    [DAEMON]: ['{}', '{\n\t"debug": true,\n\t"registry-mirrors": ["https://theirs.example"]\n}\n', '{"registry-mirrors": ["http://localhost:5000"]}', { link: '../real/daemon.json' }, { link: '/etc/nowhere.json' }, '', '{'],
    'etc/real/daemon.json': [{ text: '{ "log-level": "warn" }\n', mode: 0o640 }],
    [BUILDKIT]: ['debug = true\n[worker.oci]\n  enabled = false', '# nothing yet\n', '[registry."docker.io"]\n  mirrors = []\n'],
    [CONTAINERD]: ['version = 2\n', 'version = 3\n[plugins."io.containerd.cri.v1.images".registry]\n  config_path = ""\n', 'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry]\n  config_path = "/my/hosts"\n', 'disabled_plugins = ["cri"]\n', 'version = 1\n'],
    [HOSTS]: ['server = "https://theirs.example"\n[host."https://theirs.example"]\n  capabilities = ["pull"]\n'],
    [LOGINS]: [{ text: '{\n\t"auths": {\n\t\t"https://index.docker.io/v1/": {\n\t\t\t"auth": "x"\n\t\t}\n\t}\n}', mode: 0o644 }, { text: '{"credsStore": "pass"}', mode: 0o600 }],
    'etc/containers/registries.conf': ['unqualified-search-registries = ["quay.io"]\n'],
    'etc/containers/registries.conf.d/999.conf': ['[[registry]]\nlocation = "quay.io"\nblocked = true\n'],
  };
  const files = fc.record(Object.fromEntries(Object.entries(contents).map(([path, texts]) => [path, fc.option(fc.constantFrom(...texts), { nil: undefined })]))).map((record) => Object.fromEntries(Object.entries(record).flatMap(([path, content]) => (content === undefined ? [] : [[path, content] as const]))));
  const requests = fc.constantFrom<Partial<Request>>({}, ELSEWHERE, STAGING);
  const clients = fc.constantFrom<readonly ClientName[]>(['docker'], ['buildkit', 'docker'], ['containers'], ['containerd'], ['docker', 'buildkit', 'containers', 'kubernetes']);
  const die = fc.option(fc.nat(40), { nil: undefined });
  const deeds = fc.array(fc.oneof(fc.record({ clients, request: requests, die }), fc.record({ die })), { minLength: 1, maxLength: 4 });

  test('revert puts back the very bytes, modes, links and folders', () => {
    let written = 0;
    let died = 0;
    fc.assert(
      fc.property(files, deeds, (before, all) => {
        using machine = new TestMachine(before);
        const snapshot = machine.snapshot();
        for (const deed of all) {
          try {
            const outcome = 'clients' in deed ? apply(machine, deed.clients, deed.request, deed.die) : revert(machine, deed.die);
            if (outcome.work.length > 0) written += 1;
          } catch (error) {
            if (error instanceof Crash) died += 1;
            else expect(error).toBeInstanceOf(Refused);
          }
        }
        expect(revert(machine)).toMatchObject({ ok: true, refusals: [] });
        expect(machine.snapshot()).toEqual(snapshot);
      }),
      { numRuns: 100 },
    );
    expect([written > 30, died > 20]).toEqual([true, true]);
  });

  test('apply ends where it would have ended', () => {
    fc.assert(
      fc.property(files, clients, requests, requests, fc.nat(40), (before, who, first, second, dieAt) => {
        using one = new TestMachine(before);
        using other = new TestMachine(before);
        const attempt = (machine: TestMachine, request: Partial<Request>, at?: number): boolean => {
          try {
            return apply(machine, who, request, at).ok;
          } catch (error) {
            if (!(error instanceof Crash)) expect(error).toBeInstanceOf(Refused);
            return false;
          }
        };
        attempt(one, first, dieAt);
        if (!attempt(one, second)) return;
        expect(attempt(other, second)).toBe(true);
        const files = (machine: TestMachine): object => Object.fromEntries(Object.entries(machine.snapshot()).filter(([path]) => !path.startsWith('var/')));
        expect(files(one)).toEqual(files(other));
        const steps = apply(one, who, second);
        expect([steps.work, one.steps]).toEqual([[], []]);
      }),
      { numRuns: 60 },
    );
  });
});

describe('others’ edits', () => {
  test('of a shared file stay when ours goes', () => {
    using machine = new TestMachine({ [DAEMON]: '{"debug": true}', [BUILDKIT]: 'debug = true\n' });
    apply(machine, ['docker', 'buildkit'], { login: 'x' });
    machine.put(DAEMON, machine.text(DAEMON).replace('"http://localhost:5000"', '"https://theirs.example", "http://localhost:5000"').replace('true', 'false'));
    machine.put(BUILDKIT, `root = "/data"\n${machine.text(BUILDKIT)}[worker.oci]\n  enabled = true\n`);
    machine.put(LOGINS, { text: machine.text(LOGINS).replace('"auths": {', '"auths": { "quay.io": { "auth": "theirs" },'), mode: 0o600 });
    expect(revert(machine)).toMatchObject({ ok: true });
    expect(machine.text(DAEMON)).toBe('{"debug": false, "registry-mirrors": ["https://theirs.example"]}');
    expect(machine.text(BUILDKIT)).toBe('root = "/data"\ndebug = true\n[worker.oci]\n  enabled = true\n');
    expect(JSON.parse(machine.text(LOGINS))).toEqual({ auths: { 'quay.io': { auth: 'theirs' } } });
    expect(Object.keys(machine.snapshot()).filter((path) => path.startsWith('var/lib/'))).toEqual([]);
  });

  test('of a file that we made stay, too, and what it needs for them', () => {
    using machine = new TestMachine();
    apply(machine, ['containerd', 'buildkit']);
    machine.put(CONTAINERD, `${machine.text(CONTAINERD)}[grpc]\n  gid = 1\n`);
    machine.put(BUILDKIT, `${machine.text(BUILDKIT)}debug = true\n`);
    revert(machine);
    expect(machine.text(CONTAINERD)).toBe('version = 2\n\n[grpc]\n  gid = 1\n');
    expect(machine.text(BUILDKIT)).toBe('debug = true\n');
  });

  test('are merged with at the next apply, which is then what revert leaves', () => {
    using machine = new TestMachine({ [DAEMON]: '{}' });
    apply(machine, ['docker']);
    machine.put(DAEMON, '{ "registry-mirrors": ["http://localhost:5000"], "debug": true }');
    apply(machine, ['docker'], STAGING);
    expect(machine.text(DAEMON)).toBe('{ "debug": true, "registry-mirrors": ["http://localhost:5010"] }');
    revert(machine);
    expect(machine.text(DAEMON)).toBe('{ "debug": true }');
  });

  test.each([
    ['a file of ours', REGISTRIES, (text: string) => `${text}# mine\n`, /900-umbra\.conf was changed since/],
    ['our lines', BUILDKIT, (text: string) => text.replace('localhost:5000/docker.io', 'elsewhere/docker.io'), /our lines were changed since/],
    ['our login', LOGINS, (text: string) => text.replace('"x"', '"y"'), /"auths\.localhost:5000" was changed since/],
  ])('of %s are kept and told, and the rest is reverted', (_, path, edit, message) => {
    using machine = new TestMachine({ [DAEMON]: '{}', [BUILDKIT]: 'debug = true\n' });
    apply(machine, ['docker', 'buildkit', 'containers'], { login: 'x' });
    const edited = edit(machine.text(path));
    machine.put(path, edited);
    const outcome = revert(machine);
    expect([outcome.ok, outcome.refusals]).toEqual([false, [expect.stringMatching(message)]]);
    expect([machine.text(path), machine.text(DAEMON)]).toEqual([edited, '{}']);
    // An apply does not write over it either.
    expect(apply(machine, ['docker', 'buildkit', 'containers'], { login: 'x' })).toMatchObject({ ok: false, work: [] });
    expect(machine.text(path)).toBe(edited);
    machine.remove(path);
    expect(revert(machine)).toMatchObject({ ok: true, refusals: [] });
  });

  test('that removed a file are not undone', () => {
    using machine = new TestMachine({ [DAEMON]: '{}' });
    apply(machine, ['docker']);
    machine.remove(DAEMON);
    expect(revert(machine)).toMatchObject({ ok: true });
    expect(Object.keys(machine.snapshot())).not.toContain(DAEMON);
  });

  test('of its mode stay', () => {
    using machine = new TestMachine({ [DAEMON]: { text: '{}', mode: 0o600 } });
    apply(machine, ['docker']);
    expect(machine.mode(DAEMON)).toBe('600');
    machine.put(DAEMON, { text: machine.text(DAEMON), mode: 0o640 });
    revert(machine);
    expect([machine.text(DAEMON), machine.mode(DAEMON)]).toEqual(['{}', '640']);
  });
});

describe('apply', () => {
  test('writes nothing at all where something cannot be', () => {
    using machine = new TestMachine({ [DAEMON]: '{}', [BUILDKIT]: '[registry."docker.io"]\n', [REGISTRIES]: '# mine\n' });
    const before = machine.snapshot();
    const outcome = apply(machine, ['docker', 'buildkit', 'containers']);
    expect(outcome.refusals).toEqual([
      expect.stringMatching(/^\/etc\/buildkit\/buildkitd\.toml: registry\."docker\.io" is there already: take it out, or add by hand/),
      expect.stringMatching(/^\/etc\/containers\/registries\.conf\.d\/900-umbra\.conf is there already and not ours/),
    ]);
    expect([machine.snapshot(), machine.steps]).toEqual([before, []]);
  });

  test('says in a dry run what it would write, and writes nothing', () => {
    using machine = new TestMachine({ [DAEMON]: '{}' });
    const before = machine.snapshot();
    expect(applyConfig(machine.machine(), ['docker', 'containers'], ask(), true)).toMatchObject({ ok: true, work: [{ path: `/${DAEMON}` }, { path: `/${REGISTRIES}` }], due: [{ service: 'docker', action: 'restart' }], services: [expect.stringMatching(/^restart docker/)] });
    expect([machine.snapshot(), machine.steps]).toEqual([before, []]);
  });

  test('follows links, but not out of the root', () => {
    using machine = new TestMachine({ [DAEMON]: { link: '/../../../../etc/umbra-test/daemon.json' }, 'etc/umbra-test/daemon.json': '{}', 'etc/containers/registries.conf.d': { link: '/etc/there' } });
    apply(machine, ['docker', 'containers']);
    expect(machine.text('etc/umbra-test/daemon.json')).toContain('localhost:5000');
    expect(machine.text('etc/there/900-umbra.conf')).toContain('localhost:5000');
    expect(machine.snapshot()[DAEMON]).toContain('-> /../../../../etc/umbra-test/daemon.json');
  });

  test('shuts a file with a login, and opens it again', () => {
    using machine = new TestMachine({ [LOGINS]: { text: '{}', mode: 0o644 } });
    apply(machine, ['docker'], { login: 'x' });
    expect([machine.mode(LOGINS), machine.mode('var/lib/umbra-client-config'), machine.mode('var/lib/umbra-client-config/record.json')]).toEqual(['600', '700', '600']);
    revert(machine);
    expect(machine.mode(LOGINS)).toBe('644');
  });

  test('takes away what these clients are no longer told, and leaves what others are', () => {
    using machine = new TestMachine();
    apply(machine, ['containerd', 'docker'], { upstreams: ['docker.io', 'quay.io'] });
    apply(machine, ['containerd'], { upstreams: ['docker.io'] });
    const paths = Object.keys(machine.snapshot());
    expect([paths.includes('etc/containerd/certs.d/quay.io'), paths.includes(HOSTS), paths.includes(DAEMON)]).toEqual([false, true, true]);
  });

  test('does not tell one client what another that reads the same file was told otherwise', () => {
    using machine = new TestMachine();
    apply(machine, ['containers', 'cri-o']);
    expect(apply(machine, ['cri-o'], { strict: true }).refusals).toEqual([expect.stringMatching(/something else for containers: apply for cri-o,containers at once/)]);
    expect(apply(machine, ['cri-o', 'containers'], { strict: true })).toMatchObject({ ok: true });
  });

  test.each<[string, string, Record<string, string>, string | undefined, string]>([
    ['a drop-in of containerd 2', 'version = 3\nimports = ["/etc/containerd/conf.d/*.toml"]\n', {}, 'etc/containerd/conf.d/90-umbra.toml', '/etc/containerd/certs.d'],
    ['config.toml before containerd 2, where a drop-in would take all else of the plugin away', 'version = 2\nimports = ["conf.d/*.toml"]\n', { 'etc/containerd/conf.d/a.toml': '[grpc]\n' }, CONTAINERD, '/etc/containerd/certs.d'],
    ['the imported file that is the last to speak of the plugin', 'version = 2\nimports = ["/etc/containerd/conf.d/*.toml"]\n[plugins."io.containerd.grpc.v1.cri".registry]\n  config_path = "/my/hosts"\n', { 'etc/containerd/conf.d/a.toml': '[plugins."io.containerd.grpc.v1.cri"]\n', 'etc/containerd/conf.d/b.toml': '[plugins."io.containerd.grpc.v1.cri"]\n  sandbox_image = "x"\n' }, 'etc/containerd/conf.d/b.toml', '/my/hosts'],
    ['nothing, where an imported file says it', 'version = 3\nimports = ["/etc/containerd/conf.d/*.toml"]\n', { 'etc/containerd/conf.d/a.toml': 'version = 3\n[plugins."io.containerd.cri.v1.images".registry]\n  config_path = "/my/hosts"\n' }, undefined, '/my/hosts'],
  ])('puts config_path into %s', (_, config, others, changed, hosts) => {
    using machine = new TestMachine({ [CONTAINERD]: config, ...others });
    const before = machine.snapshot();
    for (const once of [true, false]) {
      apply(machine, ['containerd']);
      const after = machine.snapshot();
      const toml = Object.keys(after).filter((path) => /^etc\/containerd\/(?:conf\.d\/)?[^/]+\.toml$/.test(path) && after[path] !== before[path]);
      expect([once, toml]).toEqual([once, changed === undefined ? [] : [changed]]);
      if (changed !== undefined) expect(machine.text(changed)).toContain(`config_path = "${hosts}"`);
      expect(machine.text(`${hosts.slice(1)}/docker.io/hosts.toml`)).toContain('localhost:5000');
    }
    revert(machine);
    expect(machine.snapshot()).toEqual(before);
  });

  test('writes hosts.toml where containerd looks for it, and leaves search registries that are set', () => {
    using machine = new TestMachine({ [CONTAINERD]: 'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry]\n  config_path = "/my/hosts"\n', 'etc/containers/registries.conf': 'unqualified-search-registries = ["quay.io"]\n' });
    apply(machine, ['containerd', 'containers']);
    expect(machine.text('my/hosts/docker.io/hosts.toml')).toContain('localhost:5000');
    expect(machine.text(REGISTRIES)).not.toContain('unqualified');
  });

  test('of a later drop-in that would outweigh ours says so', () => {
    using machine = new TestMachine({ 'etc/containers/registries.conf.d/zz.conf': '[[registry]]\nprefix = "docker.io"\nlocation = "x"\n' });
    expect(() => apply(machine, ['containers'])).toThrow(/zz\.conf is read after .*900-umbra\.conf and says something else of docker\.io/);
  });

  test('in lenient mode comes before what a hosts.toml has, in strict mode does not come beside it', () => {
    const theirs = 'server = "https://theirs.example"\n\n[host."https://theirs.example"]\n  capabilities = ["pull"]\n';
    using machine = new TestMachine({ [HOSTS]: theirs });
    apply(machine, ['containerd']);
    expect(machine.text(HOSTS)).toBe(theirs.replace('[host', '# umbra client-config: begin\n[host."http://localhost:5000/v2/docker.io"]\n  capabilities = ["pull", "resolve"]\n  override_path = true\n# umbra client-config: end\n[host'));
    revert(machine);
    expect(apply(machine, ['containerd'], { strict: true }).refusals).toEqual([expect.stringMatching(/in strict mode nobody but Umbra may be asked/)]);
  });
});

describe('services', () => {
  const telling = (restart: boolean, fails: readonly string[] = []): { readonly calls: string[]; readonly telling: Parameters<TestMachine['machine']>[1] & object } => {
    const calls: string[] = [];
    const call = (words: readonly string[]): { ok: boolean; output: string } => {
      calls.push(words.join(' '));
      return { ok: !fails.includes(words.join(' ')), output: 'it would not' };
    };
    return { calls, telling: { live: true, restart, systemd: { runs: true, call } } };
  };

  test('are restarted only where asked, running, and their files changed', () => {
    using machine = new TestMachine();
    const say = telling(false);
    expect(applyConfig(machine.machine(undefined, say.telling), ['docker'], ask(), false).services).toEqual([expect.stringMatching(/^restart docker \(systemctl restart docker\): /)]);
    expect(say.calls).toEqual([]);
    const { calls, telling: go } = telling(true, ['is-active --quiet containerd']);
    expect(applyConfig(machine.machine(undefined, go), ['docker'], ask(), false).services).toEqual([]);
    expect(applyConfig(machine.machine(undefined, go), ['docker', 'containerd', 'cri-o'], ask(STAGING), false).services).toEqual([expect.stringMatching(/^restarted docker/), expect.stringMatching(/^containerd does not run/), expect.stringMatching(/^reloaded crio/)]);
    expect(calls).toEqual(['is-active --quiet docker', 'restart docker', 'is-active --quiet containerd', 'is-active --quiet crio', 'reload crio']);
  });

  test('whose unit changes are restarted after systemd has read it', () => {
    using machine = new TestMachine();
    const { calls, telling: go } = telling(true);
    applyConfig(machine.machine(undefined, go), ['docker'], ask({ proxy: 'http://localhost:5080' }), false);
    expect(calls).toEqual(['daemon-reload', 'is-active --quiet docker', 'restart docker']);
  });

  test('that could not be restarted, or whose turn never came, are at the next run', () => {
    using machine = new TestMachine();
    expect(applyConfig(machine.machine(undefined, telling(true, ['restart docker']).telling), ['docker'], ask(), false)).toMatchObject({ ok: false, services: [expect.stringMatching(/failed, do it yourself: it would not/)] });
    const again = telling(true);
    expect(applyConfig(machine.machine(undefined, again.telling), ['docker'], ask(), false)).toMatchObject({ ok: true, work: [] });
    expect(again.calls).toContain('restart docker');

    const whole = ((): number => {
      using twin = new TestMachine();
      apply(twin, ['docker']);
      revert(twin);
      return twin.steps.indexOf(`remove /${DAEMON}`);
    })();
    expect(() => revert(machine, whole + 1)).toThrow(Crash);
    expect(Object.keys(machine.snapshot())).not.toContain(DAEMON);
    expect(revert(machine).services).toEqual([expect.stringMatching(/^restart docker/)]);
    expect(revert(machine).services).toEqual([]);
  });
});
