/** Names a PostgreSQL database in messages. Apart from the pool, so that the client is loaded only where it is used. */

/** Where a URL leads, for messages, without its password: `database umbra at db.example.org:5432`. Undefined: it is no URL. */
export function postgresPlace(url: string): string | undefined {
  const parsed = URL.parse(url);
  if (parsed === null) return undefined;
  const host = parsed.searchParams.get('host') ?? decoded(parsed.hostname);
  const database = decoded(parsed.pathname.slice(1));
  return `database ${database === '' ? '(default)' : database} at ${host === '' ? 'localhost' : host}:${parsed.port === '' ? '5432' : parsed.port}`;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
