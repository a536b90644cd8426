/** All files of a node, from the one model. Formats only say them each in its own way. */
import { createHash } from 'node:crypto';
import { clientFiles } from './client-files.ts';
import { configFile } from './config-file.ts';
import { installScript } from './install-script.ts';
import { nodeFile } from './node-file.ts';
import type { NodeFile } from './node-file.ts';
import type { NodeModel } from './node-model.ts';
import { CLIENTS_FILE, CLUSTERS_CA_FILE, CONFIG_FILE, CREDENTIAL_FILE, PUSH_PASSWORD_FILE, STORAGE_CA_FILE, TOKEN_FILE } from './places.ts';
import { proxyFiles } from './proxy-files.ts';
import { unitFiles } from './units.ts';

/** With the script that is to be run when they are there: `INSTALL_SCRIPT`. */
export function filesOf(model: NodeModel): readonly NodeFile[] {
  const own = ownFiles(model);
  const clients = clientFiles(model);
  const files = [...own, ...unitFiles(model, own.map(({ path }) => path)), ...proxyFiles(model.proxies)];
  // In what clients read on their own there is nothing to restart for.
  return [...files, installScript(model, files), clientsFile(clients), ...clients];
}

/** By it, a later install script or `remove` knows which of them are to go, and that nobody has changed them since. */
function clientsFile(clients: readonly NodeFile[]): NodeFile {
  return nodeFile(CLIENTS_FILE, clients.map(({ path, content }) => `${createHash('sha256').update(content).digest('hex')}  ${path}\n`).join(''));
}

/** What the program itself reads, wherever it runs. */
export function ownFiles(model: NodeModel): readonly NodeFile[] {
  const { login, storage, write } = model;
  return [
    nodeFile(CONFIG_FILE, configFile(model), { mode: 0o600 }),
    ...(storage.ca === undefined ? [] : [nodeFile(STORAGE_CA_FILE, storage.ca)]),
    ...(login.kind === 'bootstrap'
      ? [nodeFile(TOKEN_FILE, `${login.token}\n`, { secret: true }), ...(login.ca === undefined ? [] : [nodeFile(CLUSTERS_CA_FILE, login.ca)])]
      : [
          nodeFile(CREDENTIAL_FILE, `${JSON.stringify(login.credential, undefined, 2)}\n`, { secret: true }),
          ...(write === 'all' && login.pushUser !== undefined ? [nodeFile(PUSH_PASSWORD_FILE, `${login.pushUser.password}\n`, { secret: true })] : []),
        ]),
  ];
}
