/** The source of an Ignition configuration, for people to add to: https://coreos.github.io/butane/config-fcos-v1_4/, which becomes Ignition 3.3.0. */
import { Scalar } from 'yaml';
import { isPlain } from '../node-file.ts';
import type { NodeFile } from '../node-file.ts';
import { printYaml } from '../yaml-text.ts';
import { apart, dataUrl } from './ignition.ts';

/** @param about lines of a comment */
export function butane(files: readonly NodeFile[], about: string): string {
  const { plain, units } = apart(files);
  return printYaml(
    {
      variant: 'fcos',
      version: '1.4.0',
      storage: { files: plain.map(({ path, mode, content }) => ({ path, mode: octalNumber(mode), overwrite: true, contents: isPlain(content) ? { inline: content } : { source: dataUrl(content) } })) },
      systemd: { units: units.map(({ name, contents }) => ({ name, enabled: true, contents })) },
    },
    about,
  );
}

/** Butane warns of modes in decimal. */
function octalNumber(mode: number): Scalar {
  const scalar = new Scalar(mode);
  scalar.format = 'OCT';
  return scalar;
}
