/** What becomes of files, in words: for whom a run is dry, or afterwards. */
import { sameFile } from './examine.ts';
import type { FileWork } from './examine.ts';
import type { FileState } from './disk.ts';

export type FileAction = 'create' | 'change' | 'remove' | 'keep';

export function actionOf({ now, becomes }: FileWork): FileAction {
  if (sameFile(now, becomes)) return 'keep';
  if (becomes === undefined) return 'remove';
  return now === undefined ? 'create' : 'change';
}

/** The lines that go and come, where the file may be shown to others. */
export function formatWork(work: FileWork): string {
  const head = `${actionOf(work)} ${work.path}`;
  if (work.secret) return `${head} (it holds a login, so its lines are not shown)`;
  const [gone, come] = differing(linesOf(work.now), linesOf(work.becomes));
  return [head, ...gone.map((line) => `  - ${line}`), ...come.map((line) => `  + ${line}`)].join('\n');
}

/** Without what both have at the beginning and at the end. */
function differing(before: readonly string[], after: readonly string[]): readonly [readonly string[], readonly string[]] {
  let start = 0;
  while (start < Math.min(before.length, after.length) && before[start] === after[start]) start += 1;
  let end = 0;
  while (end < Math.min(before.length, after.length) - start && before[before.length - 1 - end] === after[after.length - 1 - end]) end += 1;
  return [before.slice(start, before.length - end), after.slice(start, after.length - end)];
}

function linesOf(file: FileState | undefined): readonly string[] {
  return file === undefined ? [] : file.bytes.toString().replace(/\n$/, '').split('\n');
}
