/** Whose the login is that root writes into somebody's home, where that user may have put anything. */
import { chmodSync, chownSync, lstatSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { describe, expect, test } from 'vitest';
import type { ClientName, Request } from '../request.ts';
import { ANY_MACHINE } from '../request.ts';
import { applyConfig, revertConfig } from './apply.ts';
import type { Outcome } from './apply.ts';
import { Crash, TestMachine, ask } from './machine.fixture.ts';

const ZUUL = 2000;
const DOCKER = 'home/zuul/.docker/config.json';
const CONTAINERS = 'home/zuul/.config/containers/auth.json';
const REQUEST: Partial<Request> = { login: 'enV1bDpwdw==', machine: { ...ANY_MACHINE, home: '/home/zuul' } };
const CLIENTS: readonly ClientName[] = ['docker', 'containers'];

/** Root's, but for that home; others may look into it. */
function machineWithHome(): TestMachine {
  const machine = new TestMachine({ 'etc/docker/daemon.json': '{}' });
  mkdirSync(join(machine.root, 'home/zuul'), { recursive: true });
  for (const folder of ['', 'home']) chmodSync(join(machine.root, folder), 0o755);
  own(machine, 'home/zuul');
  return machine;
}

function own(machine: TestMachine, ...paths: readonly string[]): void {
  for (const path of paths) chownSync(join(machine.root, path), ZUUL, ZUUL);
}

function apply(machine: TestMachine, dieAt?: number): Outcome {
  return applyConfig(machine.machine(dieAt), CLIENTS, ask(REQUEST), false);
}

function ownerAndMode(machine: TestMachine, path: string): readonly [number, number, string] {
  const { uid, gid } = lstatSync(join(machine.root, path));
  return [uid, gid, machine.mode(path)];
}

describe.skipIf(process.getuid?.() !== 0)('root', () => {
  test('writes a login that its user, and nobody else, may read, in folders of theirs, and takes all of it back', () => {
    using machine = machineWithHome();
    const before = machine.snapshot();
    expect(apply(machine)).toMatchObject({ ok: true, refusals: [] });
    for (const file of [DOCKER, CONTAINERS]) {
      expect([file, ...ownerAndMode(machine, file)]).toEqual([file, ZUUL, ZUUL, '600']);
      expect(JSON.parse(machine.text(file))).toEqual({ auths: { 'localhost:5000': { auth: REQUEST.login } } });
    }
    for (const folder of ['home/zuul/.docker', 'home/zuul/.config', 'home/zuul/.config/containers']) expect([folder, ...ownerAndMode(machine, folder)]).toEqual([folder, ZUUL, ZUUL, '700']);
    expect(ownerAndMode(machine, 'etc/docker/daemon.json')).toEqual([0, 0, '644']);
    expect([process.geteuid?.(), process.getegid?.()]).toEqual([0, 0]);
    expect(apply(machine).work).toEqual([]);
    expect(revertConfig(machine.machine(), false)).toMatchObject({ ok: true });
    expect(machine.snapshot()).toEqual(before);
  });

  test('keeps what the user has there, with its mode and group', () => {
    using machine = machineWithHome();
    machine.put(DOCKER, { text: '{ "detachKeys": "ctrl-q" }', mode: 0o640 });
    own(machine, 'home/zuul/.docker');
    chownSync(join(machine.root, DOCKER), ZUUL, 2001);
    const before = machine.snapshot();
    apply(machine);
    expect(ownerAndMode(machine, DOCKER)).toEqual([ZUUL, 2001, '600']);
    revertConfig(machine.machine(), false);
    expect([machine.snapshot(), ownerAndMode(machine, DOCKER)]).toEqual([before, [ZUUL, 2001, '640']]);
  });

  test('leaves nothing of root’s there, wherever the process died', () => {
    const steps = ((): number => {
      using machine = machineWithHome();
      apply(machine);
      return machine.steps.length;
    })();
    for (let dieAt = 0; dieAt < steps; dieAt += 1) {
      using machine = machineWithHome();
      const before = machine.snapshot();
      expect(() => apply(machine, dieAt)).toThrow(Crash);
      expect(process.geteuid?.()).toBe(0);
      const theirs = Object.keys(machine.snapshot()).filter((path) => path.startsWith('home/zuul'));
      expect([dieAt, theirs.map((path) => ownerAndMode(machine, path)[0])]).toEqual([dieAt, theirs.map(() => ZUUL)]);
      if (dieAt % 2 === 0) expect(apply(machine)).toMatchObject({ ok: true });
      expect(revertConfig(machine.machine(), false)).toMatchObject({ ok: true });
      expect([dieAt, machine.snapshot()]).toEqual([dieAt, before]);
    }
  });

  test('does not follow the user’s link into what is not theirs', () => {
    using machine = machineWithHome();
    mkdirSync(join(machine.root, 'etc/secret'));
    machine.put('home/zuul/.docker', { link: '/etc/secret' });
    expect(() => apply(machine)).toThrow(/^\/etc\/secret\/\.config\.json\.umbra-client-config: user 2000, in whose home it is to be, may not write there$/);
    expect(Object.keys(machine.snapshot()).filter((path) => path.startsWith('etc/secret/'))).toEqual([]);
    expect(revertConfig(machine.machine(), false)).toMatchObject({ ok: true });
    expect(machine.text('etc/docker/daemon.json')).toBe('{}');
  });

  test('does not put a login where its user could not read it', () => {
    using machine = machineWithHome();
    machine.put(DOCKER, { text: '{}', mode: 0o600 });
    const before = machine.snapshot();
    expect(apply(machine).refusals).toEqual([expect.stringMatching(/config\.json belongs to user 0, so user 2000, .* \(chown\)/)]);
    expect(machine.snapshot()).toEqual(before);
  });

  test('moves the login where another home is named', () => {
    using machine = machineWithHome();
    const before = machine.snapshot();
    applyConfig(machine.machine(), CLIENTS, ask({ ...REQUEST, machine: ANY_MACHINE }), false);
    expect(ownerAndMode(machine, 'root/.docker/config.json')).toEqual([0, 0, '600']);
    apply(machine);
    expect(Object.keys(machine.snapshot()).filter((path) => /config\.json|auth\.json/.test(path))).toEqual([CONTAINERS, DOCKER]);
    revertConfig(machine.machine(), false);
    expect(machine.snapshot()).toEqual(before);
  });
});

test('a record of before there were homes is understood', () => {
  using machine = new TestMachine();
  applyConfig(machine.machine(), ['docker'], ask(), false);
  const file = 'var/lib/umbra-client-config/record.json';
  const record = JSON.parse(machine.text(file)) as { made: { path: string }[] };
  expect(record.made.length).toBeGreaterThan(0);
  machine.put(file, JSON.stringify({ ...record, made: record.made.map(({ path }) => path) }));
  expect(revertConfig(machine.machine(), false)).toMatchObject({ ok: true });
  expect(Object.keys(machine.snapshot())).toEqual(['var', 'var/lib']);
});
