/**
 * `openstack` and its plug-ins, as Debian packages them, for tests that call it often: its start takes seconds, and is
 * done once (openstack-client.py); each command is a process of its own all the same.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { DEBIAN_PATH, type CommandResult } from './command.ts';

export interface OpenStackClient extends AsyncDisposable {
  /** One after another. Rejects where the client itself ended. @param env `OS_…` and what else it reads */
  run(args: readonly string[], env: Readonly<Record<string, string>>): Promise<CommandResult>;
}

export function openStackClient(): OpenStackClient {
  const child = spawn('python3', [join(import.meta.dirname, 'openstack-client.py')], { env: { PATH: DEBIAN_PATH, LC_ALL: 'C.UTF-8' }, stdio: ['pipe', 'pipe', 'inherit'] });
  const waiting: PromiseWithResolvers<CommandResult>[] = [];
  createInterface(child.stdout).on('line', (line) => waiting.shift()?.resolve(JSON.parse(line) as CommandResult)); // as openstack-client.py writes it
  const ended = once(child, 'close').then(() => {
    for (const { reject } of waiting.splice(0)) reject(new Error('openstack-client.py ended'));
  });
  child.stdin.on('error', () => undefined); // whoever waits is told by its end
  return {
    async run(args, env) {
      const answer = Promise.withResolvers<CommandResult>();
      waiting.push(answer);
      child.stdin.write(`${JSON.stringify({ args, env })}\n`);
      return await answer.promise;
    },
    async [Symbol.asyncDispose]() {
      child.stdin.end();
      await ended;
    },
  };
}
