/** `umbra auth …`: what there is to do with keys. */
import { resolve } from 'node:path';
import { load } from '../load.ts';
import { parseDuration } from '../../config/quantity.ts';
import { formatJson } from '../output.ts';
import { EXIT } from '../world.ts';
import type { World } from '../world.ts';

export interface RotateOptions {
  readonly config?: string;
  /** Instead of the one that the configuration names. */
  readonly keyFile?: string;
  /** A duration. */
  readonly after: string;
  readonly revoke?: boolean;
  readonly json?: boolean;
}

export async function rotateSigningKey({ config: file, keyFile, after, revoke = false, json = false }: RotateOptions, { output, ...surroundings }: World): Promise<number> {
  const afterMs = parseDuration(after);
  if (afterMs === undefined) {
    output.note(`umbra: --after ${after}: expected a duration such as 60s, 5m or 1h`);
    return EXIT.usage;
  }
  let path = keyFile && resolve(surroundings.cwd, keyFile);
  if (path === undefined) {
    const { auth } = (await load(file, surroundings)).config;
    if (auth.secret !== undefined) {
      output.note('umbra: the key is derived from auth.secret, and there is no file to put another in; expected auth.keyFile, or --key-file');
      return EXIT.failed;
    }
    path = auth.keyFile;
  }
  const { rotateKeyFile } = await import('../../rotate-key.ts');
  const { kid, signsFromMs, older, olderEndMs } = await rotateKeyFile(path, { afterMs, revoke });
  const from = new Date(signsFromMs).toISOString();
  const until = olderEndMs === undefined ? undefined : new Date(olderEndMs).toISOString();
  if (json) output.result(formatJson({ kid, signsFrom: from, older, olderUntil: until }));
  else output.result(`key ${kid} signs from ${from} on; ${older === 0 ? 'no other key verifies' : `${older} older ${older === 1 ? 'key verifies' : 'keys verify'} until ${until}`}`);
  return EXIT.ok;
}
