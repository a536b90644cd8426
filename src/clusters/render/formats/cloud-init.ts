/** cloud-init user data: https://cloudinit.readthedocs.io/en/latest/reference/modules.html#write-files. */
import { base64, isPlain, octal } from '../node-file.ts';
import type { NodeFile } from '../node-file.ts';
import { INSTALL_SCRIPT } from '../places.ts';
import { printYaml } from '../yaml-text.ts';

/** @param about lines of a comment */
export function cloudInit(files: readonly NodeFile[], about: string): string {
  return `#cloud-config\n${printYaml({ write_files: files.map(writeFile), runcmd: [['sh', INSTALL_SCRIPT]] }, about)}`;
}

function writeFile({ path, mode, content }: NodeFile): object {
  return {
    path,
    owner: 'root:root',
    permissions: octal(mode),
    ...(isPlain(content) ? { content } : { encoding: 'b64', content: base64(content) }),
  };
}
