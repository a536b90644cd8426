/** Where things are on a node. */

export const CONFIG_FOLDER = '/etc/umbra';
export const CONFIG_FILE: string = `${CONFIG_FOLDER}/umbra.yaml`;
export const TOKEN_FILE: string = `${CONFIG_FOLDER}/bootstrap-token`;
export const CREDENTIAL_FILE: string = `${CONFIG_FOLDER}/credential.json`;
export const PUSH_PASSWORD_FILE: string = `${CONFIG_FOLDER}/push-password`;
export const STORAGE_CA_FILE: string = `${CONFIG_FOLDER}/storage-ca.pem`;
export const CLUSTERS_CA_FILE: string = `${CONFIG_FOLDER}/clusters-ca.pem`;
export const INSTALL_SCRIPT: string = `${CONFIG_FOLDER}/install`;
/** Checksums and paths of what was given to clients as whole files, as sha256sum prints them. */
export const CLIENTS_FILE: string = `${CONFIG_FOLDER}/clients`;
export const STATE_FOLDER = '/var/lib/umbra';
export const CACHE_FOLDER = '/var/cache/umbra';
export const UNITS_FOLDER = '/etc/systemd/system';

/** Each version has a folder of its own, so that one which runs is never written over. */
export function programFolder(version: string): string {
  return `/opt/umbra/${version}`;
}
