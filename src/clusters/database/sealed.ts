/**
 * Secrets at rest: AES-256-GCM under a key that is not in the database, bound to whose they are, so that one row's text
 * is of no use in another. Keys rotate: the first one seals, all of them open, and `reseal` brings everything under the
 * first.
 */
import { createCipheriv, createDecipheriv, createHash, createSecretKey, hkdfSync, randomBytes, type KeyObject } from 'node:crypto';
import type { Kysely, Transaction } from 'kysely';
import { Secret } from '../../config/config.ts';
import type { ClusterDatabase } from './database.ts';
import type { Schema } from './schema.ts';

/** Anything that can be written through: the database or a transaction. */
export type Writer = Kysely<Schema> | Transaction<Schema>;

/** What is sealed cannot be opened, or is not what it should be: it names whose it is. */
export class SealError extends Error {
  override readonly name = 'SealError';
}

export interface SealedSecrets {
  /** Writes over what stood there. */
  put(writer: Writer, owner: string, kind: string, secret: Secret): Promise<void>;
  /** Undefined: none there. @throws SealError */
  find(writer: Writer, owner: string, kind: string): Promise<Secret | undefined>;
  /** All of an owner's; `prefix`: of everybody whose name begins so, which must end with `/`. */
  remove(writer: Writer, owner: { readonly owner: string; readonly kind?: string } | { readonly prefix: string }): Promise<void>;
  /** Brings what older keys sealed under the first one. @returns how many */
  reseal(): Promise<number>;
}

const VERSION = 'v1';
const CIPHER = 'aes-256-gcm';
const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const PAGE = 100;

interface SealingKey {
  readonly id: string;
  readonly key: KeyObject;
}

/** @param keys texts of at least 32 characters, the newest first */
export function sealedSecrets(database: ClusterDatabase, keys: readonly Secret[]): SealedSecrets {
  const all = keys.map(sealingKey);
  const [first] = all;
  if (first === undefined) throw new Error('no encryption key: name one in clusters.encryptionKeyFile');

  const open = (owner: string, kind: string, keyId: string, sealed: string): Secret => {
    const key = all.find(({ id }) => id === keyId);
    if (key === undefined) throw new SealError(`the ${kind} of ${owner} is sealed with the key ${keyId}, which clusters.encryptionKeyFile does not have; add the older key after the newest`);
    try {
      return new Secret(unseal(key, `${owner}\n${kind}`, sealed));
    } catch (cause) {
      throw new SealError(`the ${kind} of ${owner} cannot be opened: it was changed in the database`, { cause });
    }
  };

  const put = async (writer: Writer, owner: string, kind: string, secret: Secret): Promise<void> => {
    const row = { key_id: first.id, sealed: seal(first, `${owner}\n${kind}`, secret.reveal()) };
    await writer.insertInto('sealed_secrets').values({ owner, kind, ...row, created_ms: database.nowMs })
      .onConflict((conflict) => conflict.columns(['owner', 'kind']).doUpdateSet(row))
      .execute();
  };

  return {
    put,
    async find(writer, owner, kind) {
      const row = await writer.selectFrom('sealed_secrets').select(['key_id', 'sealed']).where('owner', '=', owner).where('kind', '=', kind).executeTakeFirst();
      return row === undefined ? undefined : open(owner, kind, row.key_id, row.sealed);
    },
    async remove(writer, whose) {
      const all = writer.deleteFrom('sealed_secrets');
      if ('prefix' in whose) {
        // '0' follows '/' : a range that an index serves, without the wildcards of LIKE.
        await all.where('owner', '>=', whose.prefix).where('owner', '<', `${whose.prefix.slice(0, -1)}0`).execute();
        return;
      }
      const own = all.where('owner', '=', whose.owner);
      await (whose.kind === undefined ? own : own.where('kind', '=', whose.kind)).execute();
    },
    async reseal() {
      let count = 0;
      for (;;) {
        const rows = await database.db.selectFrom('sealed_secrets').selectAll().where('key_id', '!=', first.id).limit(PAGE).execute();
        if (rows.length === 0) return count;
        for (const { owner, kind, key_id, sealed } of rows) {
          const secret = open(owner, kind, key_id, sealed).reveal();
          // Unless somebody wrote another meanwhile.
          const { numUpdatedRows } = await database.db.updateTable('sealed_secrets')
            .set({ key_id: first.id, sealed: seal(first, `${owner}\n${kind}`, secret) })
            .where('owner', '=', owner).where('kind', '=', kind).where('sealed', '=', sealed)
            .executeTakeFirst();
          count += Number(numUpdatedRows);
        }
      }
    },
  };
}

/** HKDF (RFC 5869): the text is no key yet; its id must tell nothing of it. */
function sealingKey(text: Secret): SealingKey {
  const derive = (purpose: string): Buffer => Buffer.from(hkdfSync('sha256', text.reveal(), '', purpose, KEY_BYTES));
  return {
    key: createSecretKey(derive('umbra clusters sealing key')),
    id: createHash('sha256').update(derive('umbra clusters sealing key id')).digest('hex').slice(0, 16),
  };
}

/** NIST SP 800-38D: a random nonce of 96 bits, good for 2^32 secrets under one key. */
function seal({ key }: SealingKey, about: string, text: string): string {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv(CIPHER, key, nonce, { authTagLength: TAG_BYTES }).setAAD(Buffer.from(about));
  const sealed = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()]);
  return `${VERSION}.${Buffer.concat([nonce, sealed, cipher.getAuthTag()]).toString('base64url')}`;
}

function unseal({ key }: SealingKey, about: string, sealed: string): string {
  const [version, text = ''] = sealed.split('.');
  if (version !== VERSION) throw new Error('not of a known version');
  const bytes = Buffer.from(text, 'base64url');
  const decipher = createDecipheriv(CIPHER, key, bytes.subarray(0, NONCE_BYTES), { authTagLength: TAG_BYTES }).setAAD(Buffer.from(about));
  decipher.setAuthTag(bytes.subarray(-TAG_BYTES));
  return Buffer.concat([decipher.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()]).toString('utf8');
}
