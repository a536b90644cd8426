/** What a node of a cluster is given: the credential of a generation, as those who made it sealed it (`credentials/`). */
import { parseCredential, parsePushUser, WireError, type Credential, type PushUser } from '../../bootstrap-wire.ts';
import { clusterOwner, generationOwner, NODE_CREDENTIAL, PUSH_USER } from '../credentials/credential.ts';
import { SealError, type SealedSecrets, type Writer } from '../database/sealed.ts';

export interface Handout {
  readonly credential: Credential;
  readonly pushUser?: PushUser | undefined;
}

/** Undefined: there is none (yet). @throws SealError */
export async function handoutOf(secrets: SealedSecrets, writer: Writer, clusterUuid: string, generation: number): Promise<Handout | undefined> {
  const owner = generationOwner(clusterUuid, generation);
  const credential = await secrets.find(writer, owner, NODE_CREDENTIAL);
  if (credential === undefined) return undefined;
  // Who pushes outlives a rotation of what opens the store.
  const pushUser = (await secrets.find(writer, owner, PUSH_USER)) ?? (await secrets.find(writer, clusterOwner(clusterUuid), PUSH_USER));
  try {
    return { credential: parseCredential(credential.reveal()), ...(pushUser === undefined ? {} : { pushUser: parsePushUser(pushUser.reveal()) }) };
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    throw new SealError(`the sealed credential of ${owner} is not one for nodes: ${error.message}`, { cause: error });
  }
}
