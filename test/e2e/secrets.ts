/** Looks for secrets where none may be. */

/** What of these logins, in any form in which they travel, or of any token stands in the text. */
export function secretsIn(text: string, logins: Readonly<Record<string, string>>): string[] {
  const forms = Object.entries(logins).flatMap(([user, password]) => [
    password,
    encodeURIComponent(password),
    // As in an Authorization header; what precedes and follows cannot change its middle.
    Buffer.from(`${user}:${password}`).toString('base64').slice(4, -4),
  ]);
  // A token is a JWT, whose first part is a JSON object.
  const tokens = text.match(/\beyJ[\w-]{8,}/g) ?? [];
  return [...forms.filter((form) => text.includes(form)), ...tokens];
}

interface Watched {
  readonly output: () => string;
  readonly config: unknown;
}

const watched: Watched[] = [];

/** What the program prints is looked through when the tests of the file are over, for secrets of its configuration and for tokens. */
export function watchForSecrets(config: unknown, output: () => string): void {
  watched.push({ output, config });
}

/** What was found since the last time, a line each. */
export function secretsTold(): string[] {
  return watched.splice(0).flatMap(({ output, config }) => {
    const text = output();
    return [...passwordsOf(config).filter((password) => text.includes(password)), ...secretsIn(text, {})].map((secret) => `${secret} in ${text.slice(0, 300)}…`);
  });
}

/** Texts under keys that say so, in any configuration. */
function passwordsOf(config: unknown, key = ''): string[] {
  if (typeof config === 'string') return /^pass$|password$|secret|tempUrlKey$/i.test(key) && config.length > 5 ? [config] : [];
  if (typeof config !== 'object' || config === null) return [];
  return Object.entries(config).flatMap(([name, value]) => passwordsOf(value, name));
}
