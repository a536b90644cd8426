/**
 * The real program as a child: `bin/umbra serve` with a configuration of its own, which can be stopped, killed as by a
 * crash, and started again on the same port and storage.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { stringify } from 'yaml';
import { DEBIAN_PATH } from '../services/command.ts';
import { Daemon } from '../services/daemon.ts';
import { freePort } from '../services/ports.ts';
import { knowKeys, knowSecrets, watchSaid } from '../support/secret-watch.ts';
import { pagesOf } from './pages.ts';

/** Another build can be put to the same tests. */
export const PROGRAM: string = process.env['UMBRA_PROGRAM'] ?? join(import.meta.dirname, '../../bin/umbra');

export interface UmbraOptions {
  /** For the configuration, the storage and the key, unless the configuration says otherwise; made if absent. */
  readonly dir: string;
  /**
   * As in the file. Where it does not say: one listener on a free port of localhost, no upstreams, one worker.
   */
  readonly config?: Readonly<Record<string, unknown>> & { readonly listeners?: readonly Listener[] };
  /** A command that runs the program given after it. */
  readonly wrapper?: readonly string[];
}

export type Listener = Readonly<Record<string, unknown>> & { readonly address: string };

export class Umbra implements AsyncDisposable {
  readonly configFile: string;
  /** `localhost:PORT` of each listener. */
  readonly hosts: readonly string[];
  /** Of the first listener. */
  readonly url: string;
  readonly #options: UmbraOptions;
  #daemon: Daemon | undefined;
  #pastOutput = '';

  private constructor(options: UmbraOptions, configFile: string, listeners: readonly Listener[]) {
    this.#options = options;
    this.configFile = configFile;
    this.hosts = listeners.map(({ address }) => `localhost:${address.slice(address.lastIndexOf(':') + 1)}`);
    this.url = `${listeners[0]?.['tls'] === undefined ? 'http' : 'https'}://${this.hosts[0]}`;
  }

  static async start(options: UmbraOptions): Promise<Umbra> {
    const listeners = options.config?.listeners ?? [{ address: `localhost:${await freePort()}` }];
    const configFile = join(options.dir, 'umbra.yaml');
    await mkdir(options.dir, { recursive: true });
    await writeFile(configFile, stringify({ workers: 1, upstreams: {}, ...options.config, listeners }));
    const umbra = new Umbra(options, configFile, listeners);
    await umbra.restart();
    return umbra;
  }

  /** Starts it again after `stop` or `kill`. */
  async restart(): Promise<void> {
    this.#daemon = await Daemon.start({
      command: [...(this.#options.wrapper ?? []), PROGRAM, 'serve', '-c', this.configFile],
      // No proxy of the machine's is passed on: the upstreams here are on loopback.
      env: { PATH: `${dirname(process.execPath)}:${DEBIAN_PATH}`, HOME: this.#options.dir },
      ready: (output) => /^umbra: ready\b/m.test(output),
    });
    this.#knowKeys();
  }

  /** The whole output so far, of all its lives. */
  get output(): string {
    return this.#pastOutput + (this.#daemon?.output ?? '');
  }

  /** The main process. */
  get pid(): number {
    if (this.#daemon === undefined) throw new Error('umbra is not running');
    return this.#daemon.pid;
  }

  /** The host of the first listener, as a reference begins with it. */
  get host(): string {
    return this.hosts[0] ?? '';
  }

  /** SIGTERM, and waits for the end. Rejects where it does not end well. */
  async stop(): Promise<void> {
    // Its metrics have by now what was done in its life.
    if (this.#daemon !== undefined) watchSaid('its pages', await pagesOf(this.url));
    this.#knowKeys();
    const daemon = this.#leave();
    const how = await daemon?.stop();
    if (how !== undefined && how !== 'exit code 0') throw new Error(`umbra serve ended with ${how}\n${daemon?.output.slice(-4000)}`);
  }

  /** SIGKILL to all its processes at once. */
  async kill(): Promise<void> {
    await this.#leave()?.kill();
  }

  /** What it made, or took over from another, by now. */
  #knowKeys(): void {
    for (const name of ['umbra-data.key', 'umbra-data.ca.key']) knowKeys(join(this.#options.dir, name));
    knowSecrets(this.#options.config, { folder: this.#options.dir });
  }

  #leave(): Daemon | undefined {
    const daemon = this.#daemon;
    this.#daemon = undefined;
    // Output that comes while it ends is kept too.
    void daemon?.ended.then(() => (this.#pastOutput += daemon.output));
    return daemon;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
