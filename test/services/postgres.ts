/**
 * Debian's PostgreSQL, as a server of the tests' own: its data in a temporary folder, as the user that the package made
 * (it refuses root), on a port of the loopback and a socket in that folder, with a password.
 */
import { chown, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from './command.ts';
import { Daemon } from './daemon.ts';
import { freePort } from './ports.ts';

const VERSIONS = '/usr/lib/postgresql';
const PASSWORD = 'correct-horse';

export class Postgres implements AsyncDisposable {
  readonly port: number;
  readonly folder: string;
  readonly #programs: string;
  #daemon: Daemon | undefined;

  private constructor(programs: string, folder: string, port: number) {
    this.#programs = programs;
    this.folder = folder;
    this.port = port;
  }

  static async start(): Promise<Postgres> {
    const [version] = (await readdir(VERSIONS)).toSorted((a, b) => Number(b) - Number(a));
    const programs = join(VERSIONS, version ?? '', 'bin');
    const folder = await mkdtemp(join(tmpdir(), 'umbra-postgres-'));
    const [uid, gid] = (await run('sh', ['-c', 'id -u postgres; id -g postgres'])).split('\n').map(Number);
    if (process.getuid?.() === 0) await chown(folder, uid ?? 0, gid ?? 0);
    const passwordFile = join(folder, 'password');
    await writeFile(passwordFile, PASSWORD);
    const server = new Postgres(programs, folder, await freePort());
    const initialize = server.#asUser('initdb', '-D', join(folder, 'data'), '-U', 'umbra', '-A', 'scram-sha-256', '--pwfile', passwordFile, '--no-sync', '--no-locale', '-E', 'UTF8');
    await run(initialize[0] ?? '', initialize.slice(1), { cwd: folder });
    await server.begin();
    return server;
  }

  /** Of a database there; `postgres` is there from the beginning. */
  url(database: string = 'postgres', user: string = 'umbra', password: string = PASSWORD): string {
    return `postgres://${user}:${password}@127.0.0.1:${this.port}/${database}`;
  }

  /** Runs SQL as the owner of everything. */
  async sql(text: string, database: string = 'postgres'): Promise<string> {
    return await run(join(this.#programs, 'psql'), ['-X', '-q', '-t', '-A', '-v', 'ON_ERROR_STOP=1', '-c', text, this.url(database)]);
  }

  /** Starts it, again after `kill`. */
  async begin(): Promise<void> {
    const settings = ['listen_addresses=127.0.0.1', `port=${this.port}`, `unix_socket_directories=${this.folder}`, 'fsync=off', 'max_connections=50'];
    this.#daemon = await Daemon.start({
      command: this.#asUser('postgres', '-D', join(this.folder, 'data'), ...settings.flatMap((setting) => ['-c', setting])),
      cwd: this.folder,
      ready: (output) => output.includes('database system is ready to accept connections'),
    });
  }

  /** Ends it at once, as a crash does. */
  async kill(): Promise<void> {
    await this.#daemon?.kill();
    this.#daemon = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    await rm(this.folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
  }

  #asUser(program: string, ...args: readonly string[]): readonly string[] {
    const command = [join(this.#programs, program), ...args];
    return process.getuid?.() === 0 ? ['setpriv', '--reuid', 'postgres', '--regid', 'postgres', '--clear-groups', ...command] : command;
  }
}
