/**
 * `${NAME}` and `${NAME:-default}` in the text values of a configuration file, as in a shell: the default stands in for
 * a variable that is unset or empty. `$${` is a literal `${`. What a variable holds is text and never read as YAML.
 */

export interface Substituted {
  readonly text: string;
  /** The variables whose values the text holds; those that fell back to a default are not among them. */
  readonly variables: readonly string[];
  /** What is wrong, one message each; the text is then of no use. */
  readonly errors: readonly string[];
  /** As a file of ours would write it, with what comes from the environment left to the environment. */
  readonly written: string;
}

export type Environment = Readonly<Record<string, string | undefined>>;

/** What means just this text. */
export function literally(text: string): string {
  return text.replaceAll('${', () => '$${'); // a function, since in a text $$ would be $
}

const REFERENCE = /\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|\$\{[^}]*\}?/g;

export function substitute(text: string, env: Environment): Substituted {
  const variables: string[] = [];
  const errors: string[] = [];
  const replaced = text.replace(REFERENCE, (reference: string, name: string | undefined, fallback: string | undefined) => {
    if (reference === '$${') return '${';
    if (name === undefined) {
      errors.push(`expected \${NAME} or \${NAME:-default}, got ${JSON.stringify(reference)} (a literal \${ is written $\${)`);
      return '';
    }
    const value = env[name];
    if (value !== undefined && (value !== '' || fallback === undefined)) {
      variables.push(name);
      return value;
    }
    if (fallback === undefined)
      errors.push(`the environment variable ${name} is not set, and \${${name}} has no default (write \${${name}:-…})`);
    return fallback ?? '';
  });
  return { text: replaced, variables, errors, written: text };
}
