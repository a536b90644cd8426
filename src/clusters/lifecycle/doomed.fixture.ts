/**
 * Processes of the service over one database, behind proxies that kill them at one of their calls to Keystone and Swift.
 * One may be started ahead, since starting takes longer than most of what they live through.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { vi } from 'vitest';
import { KillingProxies, type Kill } from '../../../test/services/killing-proxy.ts';
import type { OpenStackSettings } from '../../../test/services/openstack.ts';
import type { CloudSettings } from '../keystone/settings.ts';
import type { InstanceOptions } from './instance.fixture.ts';
import { INTERVALS, KEYS } from './lifecycle.fixture.ts';

/** How long what a killed process held is nobody's. */
const LEASE_MS = 400;

export interface Life {
  readonly isKilled: boolean;
  /** Calls that it made. */
  readonly calls: number;
}

export class Doomed implements AsyncDisposable {
  readonly #options: string;
  readonly #proxies: KillingProxies;
  readonly #cache: string;
  readonly #children = new Set<ChildProcess>();
  #next: ChildProcess | undefined;

  private constructor(proxies: KillingProxies, options: InstanceOptions, cache: string) {
    this.#proxies = proxies;
    this.#options = JSON.stringify(options);
    this.#cache = cache;
  }

  /** @param cache a folder for what Node.js compiled, which may be shared */
  static async over(database: string, settings: CloudSettings, openstack: OpenStackSettings, cache: string): Promise<Doomed> {
    const proxies = await KillingProxies.start({ keystone: new URL(openstack.authUrl).origin, swift: openstack.swiftOrigin });
    return new Doomed(proxies, {
      database, key: KEYS[0]?.reveal() ?? '', cloud: { ...settings, url: `${proxies.keystone}/v3` },
      passwords: { service: settings.service.password.reveal(), admin: settings.trusteeDomain?.password.reveal() ?? '' },
      intervals: { ...INTERVALS, leaseMs: LEASE_MS },
    }, cache);
  }

  /** Of the process that lives next, which waits for its turn. */
  startAhead(): void {
    this.#next ??= this.#start();
  }

  /** A process works on what is to be done until it is killed, or has done it and is killed then. */
  async live(kill: Omit<Kill, 'kill'>, done: () => Promise<boolean>): Promise<Life> {
    const child = this.#next ?? this.#start();
    this.#next = undefined;
    const ended = once(child, 'exit');
    this.#proxies.arm({
      ...kill,
      kill: async () => {
        child.kill('SIGKILL');
        await ended;
      },
    });
    child.stdin?.write('begin\n');
    await vi.waitUntil(async () => child.exitCode !== null || child.signalCode !== null || (await done()), { timeout: 120_000, interval: 20 });
    // Else an instance that cannot run would pass for one that made no more calls.
    if (child.exitCode !== null) throw new Error(`the instance ended by itself with ${child.exitCode}; standard error says why`);
    const { count: calls } = this.#proxies;
    child.kill('SIGKILL');
    await ended;
    const { isKilled } = this.#proxies;
    this.#proxies.arm(undefined);
    this.#children.delete(child);
    return { isKilled, calls };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children) {
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    }
    await this.#proxies[Symbol.asyncDispose]();
  }

  #start(): ChildProcess {
    const child = spawn(process.execPath, [fileURLToPath(new URL('instance.fixture.ts', import.meta.url))], {
      stdio: ['pipe', 'ignore', 'inherit'], env: { ...process.env, NODE_COMPILE_CACHE: this.#cache },
    });
    this.#children.add(child);
    child.stdin?.write(`${this.#options}\n`);
    return child;
  }
}
