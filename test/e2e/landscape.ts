/**
 * What most tests here run in: Umbra between its clients and two upstreams, docker.io and quay.io, each played by
 * Debian's docker-registry under an authority of our own. All state lies in one temporary folder.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, onTestFailed } from 'vitest';
import { makeAuthority, type Authority } from '../services/certificates.ts';
import { DockerRegistry, type DockerRegistryAuth } from '../services/docker-registry.ts';
import type { Image } from './images.ts';
import { RegistryClient } from './registry-client.ts';
import { Umbra, type UmbraOptions } from './umbra.ts';

export interface LandscapeOptions {
  /** Given the authority and the folder, the rest of Umbra's configuration. `upstreams` are added. */
  readonly config?: (authority: Authority, dir: string) => UmbraOptions['config'] | Promise<UmbraOptions['config']>;
  /** More upstreams than docker.io and quay.io, by host. */
  readonly also?: readonly string[];
  /** What is said of all upstreams beside their address. */
  readonly upstream?: Readonly<Record<string, unknown>>;
  /** A command that runs Umbra given after it. */
  readonly wrapper?: (dir: string) => readonly string[];
  /** How docker.io lets its clients in, and what Umbra is told for it. */
  readonly hubAuth?: (
    authority: Authority,
    stack: AsyncDisposableStack,
  ) => Promise<{ readonly auth: DockerRegistryAuth; readonly username: string; readonly password: string }>;
}

/** When a test of this file fails, what Umbra printed last is printed with it. */
export function tellOnFailure(umbra: () => Umbra | undefined): void {
  beforeEach(() => onTestFailed(() => console.error(`umbra's last output:\n${umbra()?.output.slice(-6000)}`)));
}

export interface Landscape extends AsyncDisposable {
  /** Short enough for the sockets of daemons. */
  readonly dir: string;
  readonly authority: Authority;
  readonly hub: DockerRegistry;
  readonly quay: DockerRegistry;
  readonly umbra: Umbra;
  /** Talks to Umbra's first listener. */
  readonly client: RegistryClient;
  /** Makes an image upstream's; `name` begins with its host. */
  publish(name: string, tag: string, image: Image): Promise<void>;
  /** What is started here ends with the landscape. */
  use<T extends AsyncDisposable>(resource: T): T;
}

export async function buildLandscape(options: LandscapeOptions = {}): Promise<Landscape> {
  await using stack = new AsyncDisposableStack();
  // podman takes the path of a layout for a repository name, which has no capitals: not mkdtemp.
  const dir = join(tmpdir(), `u.${randomBytes(4).toString('hex')}`);
  await mkdir(dir, { mode: 0o700 });
  stack.defer(() => rm(dir, { recursive: true }));
  const authority = await makeAuthority(dir);
  const access = await options.hubAuth?.(authority, stack);
  const hub = stack.use(await DockerRegistry.start({ dir: join(dir, 'hub'), authority, ...(access && { auth: access.auth }) }));
  const quay = stack.use(await DockerRegistry.start({ dir: join(dir, 'quay'), authority }));
  const others = await Promise.all((options.also ?? []).map(async (host) => [host, stack.use(await DockerRegistry.start({ dir: join(dir, host), authority }))] as const));
  const login = access && { username: access.username, password: access.password };
  const umbra = stack.use(
    await Umbra.start({
      dir: join(dir, 'umbra'),
      ...(options.wrapper && { wrapper: options.wrapper(dir) }),
      config: {
        upstreams: {
          'docker.io': { url: hub.url, ca: authority.certFile, ...login, ...options.upstream },
          ...Object.fromEntries([['quay.io', quay] as const, ...others].map(([host, { url }]) => [host, { url, ca: authority.certFile, ...options.upstream }])),
        },
        ...(await options.config?.(authority, dir)),
      },
    }),
  );
  const client = stack.use(new RegistryClient(umbra.url, { ca: authority.pem }));
  const publishers = new Map<string, RegistryClient>([
    ['docker.io', stack.use(new RegistryClient(hub.url, { ca: authority.pem, ...login }))],
    ...[['quay.io', quay] as const, ...others].map(([host, { url }]) => [host, stack.use(new RegistryClient(url, { ca: authority.pem }))] as const),
  ]);
  const owned = stack.move();
  return {
    dir,
    authority,
    hub,
    quay,
    umbra,
    client,
    async publish(name, tag, image) {
      const slash = name.indexOf('/');
      const publisher = publishers.get(name.slice(0, slash));
      if (publisher === undefined) throw new Error(`${name} is of no upstream`);
      await publisher.push(name.slice(slash + 1), tag, image);
    },
    use: (resource) => owned.use(resource),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
