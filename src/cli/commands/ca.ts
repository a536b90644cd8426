/** `umbra ca`: shows whom clients of a listener with `proxy: true` have to trust. */
import { randomBytes } from 'node:crypto';
import { openAuthority } from '../../certificates/authority.ts';
import { load } from '../load.ts';
import { formatJson } from '../output.ts';
import { EXIT } from '../world.ts';
import type { World } from '../world.ts';

export interface CaOptions {
  readonly config?: string;
  readonly json?: boolean;
}

export async function showAuthority({ config: file, json = false }: CaOptions, { output, ...surroundings }: World): Promise<number> {
  const { config } = await load(file, surroundings);
  const { certificate, pem } = await openAuthority(config.proxyCa, {
    nowMs: Date.now,
    randomBytes,
    warn: (event, fields) => output.note(`umbra: ${event}: ${JSON.stringify(fields)}`),
  });
  const { subject, fingerprint256: sha256, validToDate } = certificate;
  const validUntil = validToDate.toISOString();
  if (json) {
    output.result(formatJson({ subject, sha256, validUntil, certFile: config.proxyCa.certFile, pem }));
    return EXIT.ok;
  }
  output.note(`${subject}, valid until ${validUntil.slice(0, 10)}\nSHA-256 ${sha256}`);
  output.result(pem.trimEnd());
  return EXIT.ok;
}
