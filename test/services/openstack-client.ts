/**
 * `openstack` and its plug-ins, as Debian packages them, for tests that call it often: its start takes seconds, and is
 * done once (openstack-client.py); each command is a process of its own all the same.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { DEBIAN_PATH, type CommandResult } from './command.ts';
import { Daemon } from './daemon.ts';

export interface OpenStackClient extends AsyncDisposable {
  /** @param env `OS_…` and what else it reads */
  run(args: readonly string[], env: Readonly<Record<string, string>>): Promise<CommandResult>;
  /** For programs that call `openstack`: a PATH where that is `devstack/bin/openstack`, which asks the same server. */
  readonly env: Readonly<Record<string, string>>;
}

export async function openStackClient(): Promise<OpenStackClient> {
  const folder = await mkdtemp(join(tmpdir(), 'umbra-osc-'));
  const socket = join(folder, 'socket');
  const daemon = await Daemon.start({ command: ['python3', join(import.meta.dirname, 'openstack-client.py'), socket], ready: (output) => /^ready$/m.test(output) });
  return {
    env: { OPENSTACK_CLIENT: socket, PATH: `${join(import.meta.dirname, 'devstack/bin')}:${DEBIAN_PATH}` },
    async run(args, env) {
      const connection = connect({ path: socket, allowHalfOpen: true });
      connection.end(JSON.stringify({ args, env: { PATH: DEBIAN_PATH, LC_ALL: 'C.UTF-8', ...env } }));
      return JSON.parse(await text(connection)) as CommandResult; // as openstack-client.py writes it
    },
    async [Symbol.asyncDispose]() {
      await daemon.kill();
      await rm(folder, { recursive: true });
    },
  };
}
