/** Programs on a machine whose /etc lies in a folder: see the script `with-machine`. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';

/** What goes before the command. */
export function onMachine(root: string | undefined): readonly string[] {
  return root === undefined ? [] : [join(import.meta.dirname, 'with-machine'), root];
}

export function hasFile(root: string | undefined, path: string): boolean {
  return root !== undefined && existsSync(join(root, path));
}
