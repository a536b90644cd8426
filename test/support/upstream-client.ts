/** The client of upstreams as tests use it: aimed at a fake, with a clock that stands still and a record of what it told. */
import { upstreamClient } from '../../src/upstream/client.ts';
import type { Upstream } from '../../src/upstream/upstream.ts';
import { Secret, type UpstreamConfig } from '../../src/config/config.ts';
import type { Environment } from '../../src/upstream/proxy.ts';

export interface ClientOptions {
  readonly login?: { readonly username: string; readonly password: string };
  readonly ca?: string;
  readonly timeoutMs?: number;
  readonly manifestBytes?: number;
  readonly env?: Environment;
  /** Advanced by the test. */
  readonly clock?: { ms: number };
}

export interface Told {
  readonly answered: { readonly kind: string; readonly status: number }[];
  readonly failed: { readonly kind: string; readonly error: Error }[];
  readonly remaining: number[];
}

export function upstreamConfig(url: string, { login, ca, timeoutMs = 10_000 }: ClientOptions = {}): UpstreamConfig {
  return {
    host: 'registry.test', url, policy: 'proxy', ttlMs: 60_000, negativeTtlMs: 5_000, timeoutMs, ca,
    username: login?.username,
    password: login === undefined ? undefined : new Secret(login.password),
  };
}

export function clientOf(url: string, options: ClientOptions = {}): { readonly client: Upstream; readonly told: Told } {
  const told: Told = { answered: [], failed: [], remaining: [] };
  const client = upstreamClient(upstreamConfig(url, options), {
    nowMs: () => options.clock?.ms ?? 0,
    env: options.env ?? {},
    version: '1.2.3',
    manifestBytes: options.manifestBytes ?? 4 * 1024 * 1024,
    observe: {
      answered: ({ kind, status }) => told.answered.push({ kind, status }),
      failed: ({ kind, error }) => told.failed.push({ kind, error }),
      rateLimit: ({ remaining }) => told.remaining.push(remaining),
    },
  });
  return { client, told };
}

/** Reads a body whole; where it breaks, `error` says how and `bytes` holds what came before. */
export async function drain(body: AsyncIterable<Buffer>): Promise<{ readonly bytes: Buffer; readonly error: unknown }> {
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of body) chunks.push(chunk);
    return { bytes: Buffer.concat(chunks), error: undefined };
  } catch (error) {
    return { bytes: Buffer.concat(chunks), error };
  }
}
