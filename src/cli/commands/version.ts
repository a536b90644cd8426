/** `umbra version`: which Umbra, on what. */
import { formatJson } from '../output.ts';
import type { Output } from '../output.ts';
import { EXIT } from '../world.ts';

export interface Versions {
  readonly umbra: string;
  readonly node: string;
  readonly platform: string;
}

export function printVersion({ json = false }: { readonly json?: boolean }, versions: Versions, output: Output): number {
  output.result(json ? formatJson(versions) : `umbra ${versions.umbra} (node ${versions.node}, ${versions.platform})`);
  return EXIT.ok;
}
