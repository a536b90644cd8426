/** Signed URLs that clients may be sent to (Swift's TempURL middleware). What signs them never leaves this file. */
import { createHmac } from 'node:crypto';
import type { CallOptions } from '../driver.ts';
import { encodeName, type SwiftClient } from './client.ts';

export interface RedirectsOptions {
  readonly client: SwiftClient;
  /** The key that the container or the account has; undefined: it is asked for. */
  readonly key: string | undefined;
  /** The best that the store takes. */
  readonly digest: 'sha1' | 'sha256' | 'sha512';
}

/** Long enough for a client that waits its turn; a download that has begun goes on past it. */
const LIFETIME_SECONDS = 600;
/** URLs of one blob are the same for so long, for the sake of caches between. */
const STEP_SECONDS = 60;

export class Redirects {
  readonly #options: RedirectsOptions;

  constructor(options: RedirectsOptions) {
    this.#options = options;
  }

  /** @param nowMs by the store's clock */
  async sign(name: string, nowMs: number, options: CallOptions): Promise<string | undefined> {
    const { client, key, digest } = this.#options;
    if (key === undefined) return undefined;
    const { publicUrl } = await client.access(options);
    const url = new URL(`${publicUrl}/${encodeURIComponent(client.container)}/${encodeName(name)}`);
    const expires = Math.ceil((nowMs / 1000 + LIFETIME_SECONDS) / STEP_SECONDS) * STEP_SECONDS;
    // Signed is the path as Swift sees it, decoded.
    const signature = createHmac(digest, key).update(`GET\n${expires}\n${decodeURIComponent(url.pathname)}`).digest('hex');
    return `${url.href}?temp_url_sig=${signature}&temp_url_expires=${expires}`;
  }
}

/** The key of the container, else of the account, where we may see one. */
export async function standingKey(client: SwiftClient, options: CallOptions): Promise<string | undefined> {
  for (const [scope, level] of [[{}, 'container'], [{ scope: 'account' as const }, 'account']] as const) {
    const { header } = await client.call({ method: 'HEAD', what: `look for the TempURL key of the ${level}`, expect: [200, 204, 401, 403, 404], ...scope, ...options });
    const key = header(`x-${level}-meta-temp-url-key`) ?? header(`x-${level}-meta-temp-url-key-2`);
    if (key !== undefined) return key;
  }
  return undefined;
}
