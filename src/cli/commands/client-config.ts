/** `umbra client-config`: what a machine's clients must be told to ask Umbra, printed, or written and taken back. */
import { readFileSync } from 'node:fs';
import { isAbsolute, resolve as resolvePath } from 'node:path';
import process from 'node:process';
import { applyConfig, revertConfig } from '../../client-config/machine/apply.ts';
import type { Machine, Outcome } from '../../client-config/machine/apply.ts';
import { Disk } from '../../client-config/machine/disk.ts';
import { thisSystemd } from '../../client-config/machine/services.ts';
import { actionOf, formatWork } from '../../client-config/machine/summary.ts';
import { ANY_MACHINE, CLIENTS, Refused, parseRegistry } from '../../client-config/request.ts';
import type { ClientName, RegistryAddress, Request } from '../../client-config/request.ts';
import { plan } from '../../client-config/plan.ts';
import { formatPlan, planForPrograms } from '../../client-config/show.ts';
import type { Config, ListenerConfig } from '../../config/config.ts';
import { load } from '../load.ts';
import { originProblem, registryHostProblem, viewProblem } from '../../config/words.ts';
import type { ViewId } from '../../oci/name.ts';
import { formatJson } from '../output.ts';
import { EXIT } from '../world.ts';
import type { World } from '../world.ts';

export interface ClientConfigOptions {
  /** Clients, with commas between them. */
  readonly for?: string;
  readonly config?: string;
  readonly view?: string;
  readonly registry?: string;
  /** Hosts, with commas between them; empty: none. */
  readonly upstreams?: string;
  readonly insecureRegistries?: string;
  readonly others?: boolean;
  /** Hosts, with commas between them; empty: none. */
  readonly searchRegistries?: string;
  readonly ca?: string;
  readonly proxy?: string;
  readonly username?: string;
  readonly passwordFile?: string;
  /** Of whom the login is for; a path of the machine. */
  readonly home?: string;
  readonly strict?: boolean;
  readonly json?: boolean;
}

export async function printClientConfig(options: ClientConfigOptions, world: World): Promise<number> {
  return orUsage(world, async () => {
    const { clients, request } = await understand(options, world);
    // The password stays where it is.
    const made = plan(clients, { ...request, login: request.login === undefined ? undefined : '***' });
    world.output.result(options.json === true ? formatJson(planForPrograms(made)) : formatPlan(made));
    return EXIT.ok;
  });
}

export interface MachineOptions {
  /** Of the machine's files, if not /. */
  readonly root?: string;
  readonly dryRun?: boolean;
  readonly restart?: boolean;
  readonly json?: boolean;
}

export async function applyClientConfig(options: ClientConfigOptions & MachineOptions, world: World): Promise<number> {
  return orUsage(world, async () => {
    const { clients, request } = await understand(options, world);
    const machine = machineOf(options, world);
    const { home } = request.machine;
    if (options.home !== undefined && machine.disk.ownerOfFolder(home) === undefined) throw new Refused(`--home ${home}: no such folder there`);
    const outcome = applyConfig(machine, clients, request, options.dryRun === true);
    return tell({ ...outcome, notes: [...outcome.notes, ...whoseLogin(options, world)] }, 'nothing to do: these clients are told so already', options, world);
  });
}

export async function revertClientConfig(options: MachineOptions, world: World): Promise<number> {
  return orUsage(world, () => Promise.resolve(tell(revertConfig(machineOf(options, world), options.dryRun === true), 'nothing to revert', options, world)));
}

function machineOf({ root = '/', restart = false }: MachineOptions, world: World): Machine {
  const disk = new Disk(resolvePath(world.cwd, root));
  return {
    disk,
    owner: { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 },
    telling: { live: disk.root === '', restart, systemd: thisSystemd(world.env) },
  };
}

/** sudo makes root's home of the user's, where the user's clients do not look. */
function whoseLogin({ username, home }: ClientConfigOptions, { env }: World): readonly string[] {
  const { HOME: own, SUDO_USER: user } = env;
  return username === undefined || home !== undefined || user === undefined || own === undefined ? [] : [`the login is for ${own}, where root's clients look: for those of ${user}, add --home ~${user}`];
}

function tell({ work, refusals, due, services, notes, ok }: Outcome, nothing: string, { json = false, dryRun = false }: MachineOptions, { output }: World): number {
  if (json) {
    output.result(formatJson({ ok, dryRun, files: work.map((one) => ({ path: one.path, action: actionOf(one) })), refusals, due, services, notes }));
    return ok ? EXIT.ok : EXIT.failed;
  }
  for (const refusal of refusals) output.note(`umbra: ${refusal}`);
  const lines = [...work.map((one) => (dryRun ? formatWork(one) : `${actionOf(one)} ${one.path}`)), ...services.map((line) => `then ${line}`), ...notes.map((note) => `note: ${note}`)];
  if (work.length + services.length > 0) output.result(lines.join('\n'));
  else if (refusals.length === 0) output.result(nothing);
  return ok ? EXIT.ok : EXIT.failed;
}

/** Something on the command line is wrong; the message names it. */
class UsageError extends Error {}

async function orUsage(world: World, command: () => Promise<number>): Promise<number> {
  try {
    return await command();
  } catch (error) {
    if (error instanceof Refused) {
      world.output.note(`umbra: ${error.message}`);
      return EXIT.failed;
    }
    if (!(error instanceof UsageError)) throw error;
    world.output.note(`error: ${error.message}\n(--help says more)`);
    return EXIT.usage;
  }
}

async function understand(options: ClientConfigOptions, world: World): Promise<{ readonly clients: readonly ClientName[]; readonly request: Request }> {
  if (options.for === undefined) throw new UsageError(`which clients? --for ${CLIENTS.join(', ')}`);
  const clients = [...new Set(options.for.split(','))].map((word) => {
    const client = CLIENTS.find((name) => name === word);
    if (client === undefined) throw new UsageError(`--for ${word}: expected ${CLIENTS.join(', ')}`);
    return client;
  });
  const view = checked('--view', options.view, viewProblem) as ViewId | undefined;
  const named = checked('--registry', options.registry, originProblem);
  const { config } = await load(options.config, world);
  const registry = named === undefined ? defaultRegistry(config) : parseRegistry(named);
  const upstreams = options.upstreams?.split(',').filter((host) => host !== '') ?? config.upstreams.map(({ host }) => host);
  for (const host of upstreams) checked('--upstreams', host, registryHostProblem);
  const insecure = (options.insecureRegistries ?? '').split(',').filter((host) => host !== '' && host !== registry.host && !upstreams.includes(host));
  for (const host of insecure) checked('--insecure-registries', host, registryHostProblem);
  if (upstreams.length + insecure.length === 0) throw new UsageError('Umbra’s configuration has no upstreams: say with --upstreams whose images are to be asked of it');
  const searchRegistries = options.searchRegistries?.split(',').filter((host) => host !== '');
  for (const host of searchRegistries ?? []) checked('--search-registries', host, registryHostProblem);
  if (options.others === true && view !== undefined) throw new UsageError('--others is not for a view: leave it out, and say with --upstreams whose images are asked of Umbra');
  const proxy = checked('--proxy', options.proxy, originProblem);
  if (proxy !== undefined && clients.some((client) => client !== 'docker')) throw new UsageError('--proxy is for docker, which sees upstreams other than Docker Hub by it alone: leave it out, or give docker a command of its own');
  return {
    clients,
    request: {
      registry,
      view,
      registryOfView: named === undefined && view !== undefined ? registryOfView(view, registry, config) : undefined,
      upstreams,
      others: options.others === true,
      insecure,
      searchRegistries,
      strict: options.strict === true,
      ca: options.ca === undefined ? undefined : authorities(options.ca, world),
      proxy,
      login: credentials(options, world),
      machine: { ...ANY_MACHINE, home: homeOf(options, world) },
    },
  };
}

function homeOf({ home, username }: ClientConfigOptions, { env }: World): string {
  if (home === undefined) return env['HOME'] ?? ANY_MACHINE.home;
  if (!isAbsolute(home)) throw new UsageError(`--home ${home}: expected an absolute path, as the machine has it`);
  if (username === undefined) throw new UsageError('--home is where the login goes: it wants --username and --password-file');
  return home.replace(/(?<=.)\/+$/, '');
}

function checked(option: string, word: string | undefined, problemOf: (word: string) => string | undefined): string | undefined {
  const problem = word === undefined ? undefined : problemOf(word);
  if (problem !== undefined) throw new UsageError(`${option} ${word}: ${problem}`);
  return word;
}

/** As the first listener says that clients reach it. */
function defaultRegistry({ listeners }: Config): RegistryAddress {
  const first = listeners[0];
  const registry = first === undefined ? undefined : registryOf(first);
  if (registry === undefined) throw new UsageError(`the first listener, ${first?.address ?? 'none'}, does not say what clients call it: give --registry, such as https://registry.example.org`);
  return registry;
}

function registryOf({ publicUrl, address, tls, binds }: ListenerConfig): RegistryAddress | undefined {
  if (publicUrl !== undefined) return parseRegistry(publicUrl);
  const anywhere = binds.some(({ host, port }) => port === 0 || host === '0.0.0.0' || host === '::');
  return anywhere ? undefined : parseRegistry(`${tls === undefined ? 'http' : 'https'}://${address}`);
}

/** By a listener of its own, or else by its host name. */
function registryOfView(view: ViewId, first: RegistryAddress, { listeners, views }: Config): RegistryAddress | undefined {
  const listener = listeners.find((one) => one.view === view && one.upstream === 'docker.io');
  if (listener !== undefined) return registryOf(listener);
  const port = /:\d+$/.exec(first.host)?.[0] ?? '';
  return views.hostSuffix === undefined ? undefined : { scheme: first.scheme, host: `${view}.${views.hostSuffix}${port}` };
}

function authorities(file: string, world: World): string {
  const pem = read('--ca', file, world);
  if (!pem.includes('-----BEGIN CERTIFICATE-----')) throw new UsageError(`--ca ${file}: expected a PEM file of certificates`);
  return pem;
}

function credentials({ username, passwordFile }: ClientConfigOptions, world: World): string | undefined {
  if (username === undefined && passwordFile === undefined) return undefined;
  if (username === undefined || passwordFile === undefined) throw new UsageError('--username and --password-file go together');
  if (username === '' || username.includes(':')) throw new UsageError(`--username ${username}: expected a name without a colon`);
  const password = read('--password-file', passwordFile, world).replace(/\r?\n$/, '');
  return Buffer.from(`${username}:${password}`).toString('base64');
}

function read(option: string, file: string, world: World): string {
  try {
    return readFileSync(resolvePath(world.cwd, file), 'utf8');
  } catch (error) {
    throw new UsageError(`${option} ${file} cannot be read: ${(error as NodeJS.ErrnoException).code ?? String(error)}`, { cause: error });
  }
}
