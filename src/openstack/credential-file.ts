/**
 * Who we are to OpenStack, in a file that others write: JSON with the words of `auth`. It is read at each login, so that
 * whoever rotates a credential writes another file and nothing is restarted. Its writers replace it whole.
 */
import { open, stat } from 'node:fs/promises';
import { authOf, AUTH_WORDS, type AuthWords } from './auth-words.ts';
import type { Hidden, OpenStackAuth } from './auth.ts';
import type { MakeFailure } from './failure.ts';

export interface ReadCredential {
  readonly auth: OpenStackAuth;
  /** Of the file that it was read from. */
  readonly stamp: string;
}

/** Rejects with a failure that names the file and what is wrong with it, and repeats nothing that stands there. */
export async function readCredential(path: string, failed: MakeFailure): Promise<ReadCredential> {
  let text: string;
  let stamp: string;
  try {
    await using file = await open(path, 'r');
    stamp = stampOf(await file.stat({ bigint: true }));
    text = await file.readFile('utf8');
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException; // fs rejects with these
    throw failed('permanent', `the credential ${path} cannot be read: ${code === 'ENOENT' ? 'there is no such file' : message}`, { cause });
  }
  const { words, problem } = wordsOf(text);
  if (problem !== undefined) throw failed('permanent', `the credential ${path} cannot be used: ${problem}`);
  const { auth, problems } = authOf(words, hide, { strict: true });
  const [first] = problems;
  if (first !== undefined) throw failed('permanent', `the credential ${path} cannot be used: ${first.word}: ${first.message}`);
  return { auth, stamp };
}

/** Changes when the file does; '' where there is none. */
export async function credentialStamp(path: string): Promise<string> {
  try {
    return stampOf(await stat(path, { bigint: true }));
  } catch {
    return '';
  }
}

function wordsOf(text: string): { readonly words: AuthWords; readonly problem?: string } {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { words: {}, problem: 'expected JSON' };
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return { words: {}, problem: `expected a map of ${AUTH_WORDS.join(', ')}` };
  for (const [word, said] of Object.entries(value)) {
    if (!(AUTH_WORDS as readonly string[]).includes(word)) return { words: {}, problem: `it has ${JSON.stringify(word.slice(0, 40))}; expected ${AUTH_WORDS.join(', ')}` };
    if (typeof said !== 'string') return { words: {}, problem: `${word}: expected text` };
  }
  return { words: value };
}

function hide(text: string): Hidden {
  return { reveal: () => text, toJSON: () => '***' } as Hidden;
}

function stampOf({ ino, size, mtimeNs }: { readonly ino: bigint; readonly size: bigint; readonly mtimeNs: bigint }): string {
  return `${ino}:${size}:${mtimeNs}`;
}
