/**
 * `%(ZUUL_NAME)` in a zuul-registry's file: the variable of the environment, where it is set, else just this text. There
 * it is replaced in the text of the file, so that a quote in a password breaks it; here in each value, once YAML is
 * parsed: what a variable holds is text.
 */
import { literally, type Environment, type Substituted } from '../config/substitution.ts';

const REFERENCE = /%\((ZUUL_\w+)\)/g;

export function substitute(text: string, env: Environment): Substituted {
  const variables: string[] = [];
  const replace = (from: string, set: (name: string, value: string) => string): string =>
    from.replace(REFERENCE, (whole, name: string) => (env[name] === undefined ? whole : set(name, env[name])));
  const replaced = replace(text, (name, value) => {
    variables.push(name);
    return value;
  });
  return { text: replaced, variables, errors: [], written: replace(literally(text), (name) => `\${${name}}`) };
}

/** A variable that is not set. */
export function unsetIn(text: string): string | undefined {
  return Array.from(text.matchAll(REFERENCE), ([, name]) => name)[0];
}

/** No plain text of YAML begins with %: a character for private use stands in for it. */
export function shield(text: string): string {
  return text.replace(/%(?=\(ZUUL_\w+\))/g, '\uE002');
}

export function unshield(text: string): string {
  return text.replaceAll('\uE002', '%');
}
