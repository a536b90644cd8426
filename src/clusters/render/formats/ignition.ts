/** Ignition, for Fedora CoreOS and Flatcar: https://coreos.github.io/ignition/configuration-v3_3/. Not later than 3.3.0, which Flatcar LTS and Debian know. */
import { base64 } from '../node-file.ts';
import type { NodeFile } from '../node-file.ts';
import { UNITS_FOLDER } from '../places.ts';

export function ignition(files: readonly NodeFile[]): string {
  const { plain, units } = apart(files);
  const config = {
    ignition: { version: '3.3.0' },
    storage: { files: plain.map(({ path, mode, content }) => ({ path, mode, overwrite: true, contents: { source: dataUrl(content) } })) },
    systemd: { units: units.map(({ name, contents }) => ({ name, enabled: true, contents })) },
  };
  return `${JSON.stringify(config, undefined, 2)}\n`;
}

export function dataUrl(content: string): string {
  return `data:;base64,${base64(content)}`;
}

export interface Unit {
  readonly name: string;
  readonly contents: string;
}

/**
 * Units are files that are also enabled: nothing runs the install script on such a system but `umbra-install.service`.
 * Drop-ins are files.
 */
export function apart(files: readonly NodeFile[]): { readonly plain: readonly NodeFile[]; readonly units: readonly Unit[] } {
  const nameOf = ({ path }: NodeFile): string | undefined => new RegExp(`^${UNITS_FOLDER}/([^/]+\\.service)$`).exec(path)?.[1];
  return {
    plain: files.filter((file) => nameOf(file) === undefined),
    units: files.flatMap((file) => {
      const name = nameOf(file);
      return name === undefined ? [] : [{ name, contents: file.content }];
    }),
  };
}

