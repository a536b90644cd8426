/** The keys of a registry on a node of a cluster, `node:`, and what they come to. */
import { join } from 'node:path';
import * as v from 'valibot';
import type { NodeConfig } from './config.ts';
import { map, oneOf, text } from './kinds.ts';
import type { Kind } from './kinds.ts';
import type { NamedFiles } from './named-files.ts';
import type { NodeSettings } from './settings.ts';
import { serviceUrlProblem } from './words.ts';

const line = (word: string): string | undefined => (/\p{Cc}/u.test(word) || word.length > 255 ? 'expected one line of at most 255 characters' : undefined);

/** `node:`, whole. */
export const nodeMap: Kind<NodeSettings> = map('This registry is on a node of a cluster of the cluster service, which gives it its credential (`storage.auth.credentialFile`) and is told how it is. Not set: it is not.', {
  clusters: text('Where the cluster service answers, without `/v1`.', serviceUrlProblem),
  ca: v.optional(text('PEM file, or PEM text, of authorities that the service is trusted by, besides the usual ones.')),
  tokenFile: text('A file that holds the one-time token of the first start. Put a new one there, and restart, when the credential is lost.'),
  state: text('A folder for what the node has of the service: its key, `credential.json`, `users.htpasswd` of those who may push, and `push-user.json`, which tells people their password. Made for its owner alone.'),
  role: v.optional(oneOf('What the node is in its cluster. The token decides.', ['master', 'worker']), 'worker'),
  storage: v.optional(text('For which storage of its cluster the service rendered this configuration: a credential for another one is not taken.', line)),
  name: v.optional(text('What the service calls the node. Not set: the name of the machine.', line)),
});

export function resolveNode({ clusters, ca, tokenFile, state, role, storage, name }: NodeSettings, files: NamedFiles): NodeConfig {
  return { clusters: clusters.replace(/\/+$/, ''), ca: files.certificates(ca, ['node', 'ca']), tokenFile: files.path(tokenFile), state: files.path(state), role, storage, name };
}

/** Who may push there: the node writes it, before anything reads it. */
export function pushUsersFile({ state }: NodeConfig): string {
  return join(state, 'users.htpasswd');
}
