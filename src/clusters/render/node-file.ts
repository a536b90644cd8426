/** A file of a node, before any format has it. */

export interface NodeFile {
  /** Absolute. */
  readonly path: string;
  readonly mode: number;
  readonly content: string;
  /** Nobody but root may read it, and formats that can hide a value hide it. */
  readonly secret: boolean;
}

export function nodeFile(path: string, content: string, { mode = 0o644, secret = false }: { readonly mode?: number; readonly secret?: boolean } = {}): NodeFile {
  return { path, content, mode: secret ? 0o600 : mode, secret };
}

/** `0600`, as most formats spell it. */
export function octal(mode: number): string {
  return mode.toString(8).padStart(4, '0');
}

/**
 * A format may have it letter for letter: nothing that YAML's versions disagree on, and nothing of Jinja, by which Cluster
 * API has cloud-init go over the whole of its user data.
 */
export function isPlain(content: string): boolean {
  return /^[\t\n\u0020-\u007E]*$/.test(content) && !/\{[{%#]/.test(content);
}

export function base64(content: string): string {
  return Buffer.from(content).toString('base64');
}
