/**
 * A node under a real systemd, from the shell format to `remove`: that its units start with all that they forbid themselves, in
 * the order that they say, and again after a loss of power. Run where its program has been packed.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { nodeModel } from '../../src/clusters/render/node-model.fixture.ts';
import type { NodeModel, NodeProgram } from '../../src/clusters/render/node-model.ts';
import { render } from '../../src/clusters/render/render.ts';
import type { CommandResult } from '../services/command.ts';
import { freePort } from '../services/ports.ts';
import { SystemdMachine } from '../services/systemd-machine.ts';
import { knowKeys, watchSaid } from '../support/secret-watch.ts';
import { SmallCloud } from './small-cloud.ts';

const CONTAINERD = 'version = 2\n';
const SERVICE = 'umbra.service';
const FOLDERS = ['/', '/boot', '/dev/shm', '/etc', '/etc/umbra', '/home', '/opt/umbra', '/root', '/run', '/sys', '/tmp', '/usr', '/var/cache', '/var/cache/umbra', '/var/lib', '/var/lib/umbra', '/var/log', '/var/tmp'];

/** @param program once it is packed; its tarballs are fetched from this machine @param dir of files; not there yet */
export function nodeUnderSystemd(program: () => NodeProgram, dir: () => string): void {
  describe('a node under systemd', () => {
    let machine: SystemdMachine;
    let cloud: SmallCloud;
    let model: NodeModel;
    beforeAll(async () => {
      cloud = await SmallCloud.start();
      model = nodeModel({ ...cloud.model, port: await freePort(), program: program() });
      machine = await SystemdMachine.create(dir());
      await mkdir(join(machine.root, 'etc/containerd'));
      await writeFile(join(machine.root, 'etc/containerd/config.toml'), CONTAINERD);
      await machine.addService('containerd.service', '/bin/true');
      await machine.boot();
    });
    afterAll(async () => {
      await machine?.off();
      await cloud?.[Symbol.asyncDispose]();
    });

    const healthy = async (): Promise<number[]> => await Promise.all(['127.0.0.1', '[::1]'].map(async (host) => (await fetch(`http://${host}:${model.port}/healthz`)).status));
    const state = async (unit: string): Promise<string> => await machine.property(unit, 'ActiveState');

    async function script(format: 'shell' | 'remove'): Promise<CommandResult> {
      await writeFile(join(machine.root, 'tmp/script'), render(model, format).body);
      return await machine.attempt('sh', ['/tmp/script']);
    }

    test('has its registry when the script has ended, and its runtime restarted', async () => {
      const before = await machine.property('containerd.service', 'InvocationID');
      expect(await script('shell')).toMatchObject({ code: 0 });
      for (const unit of [SERVICE, 'umbra-install.service', 'containerd.service']) expect([unit, await state(unit)]).toEqual([unit, 'active']);
      expect(await machine.property('containerd.service', 'InvocationID')).not.toBe(before);
      expect(await machine.property(SERVICE, 'NRestarts')).toBe('0');
      expect(await healthy()).toEqual([200, 200]);
    });

    test('lets its registry write what is its own, and nothing else', async () => {
      const pid = await machine.property(SERVICE, 'MainPID');
      const status = await machine.run('cat', [`/proc/${pid}/status`]);
      const fact = (name: string): string => new RegExp(`^${name}:\\s+(\\S+)`, 'm').exec(status)?.[1] ?? '';
      expect([fact('NoNewPrivs'), fact('Seccomp'), ...['CapEff', 'CapPrm', 'CapBnd', 'CapAmb'].map((name) => Number.parseInt(fact(name), 16))]).toEqual(['1', '2', 0, 0, 0, 0]);
      expect(Number(fact('Uid'))).toBeGreaterThan(0);
      const asIt = async (lines: string): Promise<string> => await machine.run('nsenter', ['--target', pid, '--mount', '--setuid', fact('Uid'), '--setgid', fact('Gid'), '--', 'sh', '-c', lines]);
      // Everybody may write to /dev/shm; /tmp and /var/tmp are of its own, too, and go with it.
      expect((await asIt(`for at in ${FOLDERS.join(' ')}; do ! (: >"$at/x") 2>/dev/null || echo "$at"; done`)).trimEnd().split('\n')).toEqual(['/dev/shm', '/tmp', '/var/cache/umbra', '/var/lib/umbra', '/var/tmp']);
      expect(await machine.attempt('ls', ['/tmp/x', '/var/tmp/x'])).toMatchObject({ stdout: '' });
      // What it is handed it reads where it is handed over, and only there.
      expect(await asIt('for file in /run/credentials/umbra.service/bootstrap-token /etc/umbra/bootstrap-token; do ! [ -r "$file" ] || echo "$file"; done')).toBe('/run/credentials/umbra.service/bootstrap-token\n');
    });

    test('has its registry again, with the credential that it has, when it is restarted', async () => {
      await machine.run('systemctl', ['restart', SERVICE]);
      expect([await state(SERVICE), await healthy(), cloud.service.exchanges.length]).toEqual(['active', [200, 200], 1]);
    });

    test('is not waited for where it cannot start', async () => {
      const file = join(machine.root, 'etc/umbra/umbra.yaml');
      const config = await readFile(file, 'utf8');
      await writeFile(file, 'listeners: none');
      expect(await machine.attempt('systemctl', ['restart', SERVICE])).toMatchObject({ code: 1 });
      expect(await machine.run('journalctl', ['--no-pager', '--output=cat', '--unit', SERVICE])).toContain('umbra: ended before it served\n');
      await writeFile(file, config);
      await machine.run('systemctl', ['restart', SERVICE]);
      expect(await healthy()).toEqual([200, 200]);
    });

    test('boots after a loss of power, and whoever pulls images finds the registry', async () => {
      await machine.off();
      for (const name of ['kubelet.service', 'docker.service', 'crio.service']) await machine.addService(name, `/usr/bin/curl -sf -o /dev/null http://localhost:${model.port}/readyz`);
      await machine.boot();
      expect(await machine.run('systemctl', ['list-units', '--failed', '--plain', '--no-legend'])).toBe('');
      for (const unit of ['kubelet.service', 'docker.service', 'crio.service', 'containerd.service', SERVICE]) expect([unit, await state(unit)]).toEqual([unit, 'active']);
      expect([await healthy(), cloud.service.exchanges.length]).toEqual([[200, 200], 1]);
      watchSaid('the journal of a node', await machine.run('journalctl', ['--no-pager', '--output=cat']));
      knowKeys(join(machine.root, 'var/lib/private/umbra/node.json'));
    });

    test('is as it was, and goes on, when the registry is taken away', async () => {
      // One of the stand-ins cannot be told to read its files again, for which nothing else waits.
      expect(await script('remove')).toMatchObject({ code: 1, stderr: expect.stringContaining('umbra: systemctl reload crio failed') });
      expect([await machine.property(SERVICE, 'LoadState'), await state(SERVICE), await state('kubelet.service')]).toEqual(['not-found', 'inactive', 'active']);
      await expect(healthy()).rejects.toThrow('fetch failed');
      expect((await machine.run('find', ['/etc', '/opt', '/var/lib', '/var/cache', '-name', '*umbra*'])).split('\n').filter((path) => path !== '')).toEqual([]);
      expect(await machine.run('cat', ['/etc/containerd/config.toml'])).toBe(CONTAINERD);
    });
  });
}
