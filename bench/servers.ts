/** The contenders' servers: Umbra as it is built, Debian's docker-registry and nginx, each with a fresh root on a free loopback port. */
import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { freePort, ready, start, type Started } from './process.ts';

export interface Server extends Started {
  /** e.g. `http://127.0.0.1:40000` */
  readonly origin: string;
  /** From spawning to the first answer that says it is ready. */
  readonly startedMs: number;
}

const UMBRA = resolve(import.meta.dirname, '../bin/umbra');

export interface UmbraOptions {
  readonly workers?: number | 'auto';
  /** As in the file; default: the filesystem. */
  readonly storage?: object;
  /** URLs by host; none means that every name is local. */
  readonly upstreams?: Readonly<Record<string, string>>;
}

/** Defaults but for the address and where data go: one log line per request into a file; filesystem storage with fsync unless the options say otherwise. */
export async function startUmbra(folder: string, options: UmbraOptions = {}): Promise<Server> {
  const config = {
    workers: options.workers ?? 'auto',
    storage: options.storage ?? { driver: 'filesystem', root: './data' },
    upstreams: Object.fromEntries(Object.entries(options.upstreams ?? {}).map(([host, url]) => [host, { url, policy: 'proxy' }])),
  };
  return startUmbraWith(folder, config, await freePort());
}

/** With a whole configuration, to which the listener is added that is asked whether it is ready. */
export async function startUmbraWith(folder: string, config: object, port: number): Promise<Server> {
  if (!existsSync(UMBRA)) throw new Error('bin/umbra is missing: run make build first, or leave it out with --without umbra');
  // JSON is YAML.
  await writeFile(join(folder, 'umbra.yaml'), JSON.stringify({ ...config, listeners: [{ address: `127.0.0.1:${port}` }] }));
  return server(UMBRA, ['serve', '-c', 'umbra.yaml'], folder, port, '/v2/');
}

export interface DockerRegistryOptions {
  /** Makes it a pull-through cache of this URL. */
  readonly proxyOf?: string;
  /** One of its storage drivers with its parameters; default: the filesystem. */
  readonly storage?: object;
}

/** As Debian configures it (in-memory cache of descriptors, deletes, access log), without TLS and users. */
export async function startDockerRegistry(folder: string, options: DockerRegistryOptions = {}): Promise<Server> {
  const port = await freePort();
  const config = {
    version: 0.1,
    storage: { cache: { blobdescriptor: 'inmemory' }, ...(options.storage ?? { filesystem: { rootdirectory: join(folder, 'data') } }), delete: { enabled: true } },
    http: { addr: `127.0.0.1:${port}` },
    ...(options.proxyOf === undefined ? {} : { proxy: { remoteurl: options.proxyOf } }),
  };
  await writeFile(join(folder, 'config.yml'), JSON.stringify(config));
  return server('docker-registry', ['serve', 'config.yml'], folder, port, '/v2/');
}

/** nginx as a plain file server, at its best: sendfile, no access log, connections kept. */
export async function startFileServer(folder: string, files: string): Promise<Server> {
  return startNginx(folder, `root ${files};`);
}

/** nginx before an origin, giving each blob download so many MiB a second, as a network would. */
export async function startPacer(folder: string, origin: string, mibPerSecond: number): Promise<Server> {
  return startNginx(
    folder,
    `location / { proxy_pass ${origin}; }
     location ~ /blobs/sha256: { proxy_pass ${origin}; proxy_buffers 16 256k; proxy_max_temp_file_size 0; limit_rate ${mibPerSecond}m; }`,
    'proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host;',
  );
}

async function startNginx(folder: string, inServer: string, inHttp = ''): Promise<Server> {
  const port = await freePort();
  await mkdir(join(folder, 'logs'));
  const scratch = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((kind) => `${kind}_temp_path ${join(folder, kind)};`).join(' ');
  // Everything of its own stays in the folder; workers keep this user, so that they may read the files.
  await writeFile(
    join(folder, 'nginx.conf'),
    `daemon off; pid ${join(folder, 'nginx.pid')}; worker_processes auto; error_log stderr warn;
${process.getuid?.() === 0 ? 'user root;' : ''}
events { worker_connections 1024; }
http {
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000; default_type application/octet-stream; ${scratch} ${inHttp}
  server { listen 127.0.0.1:${port}; location = /ready { return 200; } ${inServer} }
}
`,
  );
  return server('nginx', ['-p', folder, '-c', join(folder, 'nginx.conf')], folder, port, '/ready');
}

async function server(command: string, args: readonly string[], folder: string, port: number, path: string): Promise<Server> {
  const origin = `http://127.0.0.1:${port}`;
  const before = performance.now();
  const started = start(command, args, folder);
  await ready(started, origin, path);
  return { ...started, origin, startedMs: performance.now() - before };
}
