/** Whether a token was got with the credential of a node, which must open nothing here (CVE-2016-7404 was such a door). */
import { sql } from 'kysely';
import type { ClusterDatabase } from '../database/database.ts';
import type { Access } from './policy.ts';

/** As `credentials/credential.ts` names them. */
const APPLICATION_CREDENTIAL = /^umbra-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}-\d+$/;
const ID = /^[0-9A-Za-z-]{1,64}$/;

/** Users of nodes themselves are told by their domain. */
export async function isNodeCredential({ db }: Pick<ClusterDatabase, 'db'>, { caller: { applicationCredential, trustee } }: Access): Promise<boolean> {
  if (applicationCredential !== undefined && APPLICATION_CREDENTIAL.test(applicationCredential)) return true;
  if (trustee === undefined) return false;
  if (!ID.test(trustee)) return true;
  const made = await db.selectFrom('intents').select('id').where(sql<boolean>`detail like ${`%"kind":"user"%"id":"${trustee}"%`}`).limit(1).executeTakeFirst();
  return made !== undefined;
}
