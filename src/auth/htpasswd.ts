/** The htpasswd file (Apache's format, bcrypt only): `name:hash` by line. Reread when it changes. */
import { Secret } from '../config/config.ts';
import { isBcrypt } from './password.ts';
import { openReloadedFile, type AuthLog, type ReloadedFile } from './reloaded-file.ts';

/** Hashes by user. */
export type Htpasswd = ReadonlyMap<string, Secret>;

export interface HtpasswdDeps {
  readonly nowMs: () => number;
  readonly log: AuthLog;
}

/** @throws Error naming the file and the line */
export function openHtpasswd(path: string, deps: HtpasswdDeps): Promise<ReloadedFile<Htpasswd>> {
  return openReloadedFile({ path, what: 'htpasswd file', parse: parseHtpasswd, ...deps });
}

function parseHtpasswd(text: string): Htpasswd {
  const users = new Map<string, Secret>();
  for (const [index, raw] of text.split('\n').entries()) {
    const line = raw.trim();
    if (line === '' || line.startsWith('#')) continue;
    const where = `line ${index + 1}`;
    const colon = line.indexOf(':');
    if (colon < 1) throw new Error(`${where}: expected name:hash`);
    const [name, hash] = [line.slice(0, colon), line.slice(colon + 1)];
    if (!isBcrypt(hash)) throw new Error(`${where}: the hash is not bcrypt ($2a$, $2b$ or $2y$), as "htpasswd -B" makes it`);
    if (users.has(name)) throw new Error(`${where}: user ${JSON.stringify(name)} stands in the file twice`);
    users.set(name, new Secret(hash));
  }
  return users;
}
