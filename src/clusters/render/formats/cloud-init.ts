/** cloud-init user data: https://cloudinit.readthedocs.io/en/latest/reference/modules.html#write-files. */
import { base64, isPlain, octal } from '../node-file.ts';
import type { NodeFile } from '../node-file.ts';
import { INSTALL_SCRIPT } from '../places.ts';
import { printYaml } from '../yaml-text.ts';

/** Lists of several parts of user data would else take each other's place. */
const MERGE = 'list(append)+dict(no_replace,recurse_list)+str()';

/** @param about lines of a comment */
export function cloudInit(files: readonly NodeFile[], about: string): string {
  return cloudConfig(files, { runcmd: [['sh', INSTALL_SCRIPT]] }, about);
}

/** A part of user data with these files. */
export function cloudConfig(files: readonly NodeFile[], more: object = {}, about?: string): string {
  return `#cloud-config\n${printYaml({ merge_how: MERGE, ...(files.length > 0 && { write_files: files.map(writeFile) }), ...more }, about)}`;
}

function writeFile({ path, mode, content }: NodeFile): object {
  return {
    path,
    owner: 'root:root',
    permissions: octal(mode),
    ...(isPlain(content) ? { content } : { encoding: 'b64', content: base64(content) }),
  };
}
