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
