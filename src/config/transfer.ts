/**
 * A configuration on its way from the primary to a worker, over IPC. `Secret` prints as `***`, so here, and only here,
 * it is put in other words.
 */
import { Secret, type Config } from './config.ts';

const SECRET = '\u0000secret';

/** JSON-able; holds secrets in clear, so it goes to the worker and nowhere else. */
export function packConfig(config: Config): unknown {
  return map(config, (value) => (value instanceof Secret ? { [SECRET]: value.reveal() } : undefined));
}

export function unpackConfig(packed: unknown): Config {
  const unpacked = map(packed, (value) => {
    const secret = (value as Record<string, unknown>)[SECRET];
    return typeof secret === 'string' ? new Secret(secret) : undefined;
  });
  return unpacked as Config; // packConfig made it
}

/** A deep copy in which `replace` gives another value for some objects. */
function map(value: unknown, replace: (value: object) => unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  const replaced = replace(value);
  if (replaced !== undefined) return replaced;
  if (Array.isArray(value)) return value.map((item) => map(item, replace));
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, map(item, replace)]));
}
