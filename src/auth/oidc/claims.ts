/** Claims of a token as attributes: text, numbers and truth values, lists of them, and claims within claims. */
import type { Attributes } from '../attributes.ts';

export function claimsOf(payload: Readonly<Record<string, unknown>>): Attributes {
  return (name) => {
    const value = find(payload, name);
    return (Array.isArray(value) ? value : [value]).filter((one) => ['string', 'number', 'boolean'].includes(typeof one)).map(String);
  };
}

/** `kubernetes.io.namespace` is `namespace` in `kubernetes.io`: claims have dots in their names, so the longest name that is there counts. */
function find(holder: unknown, path: string): unknown {
  if (typeof holder !== 'object' || holder === null || Array.isArray(holder)) return undefined;
  if (Object.hasOwn(holder, path)) return (holder as Readonly<Record<string, unknown>>)[path]; // its own property
  for (let dot = path.lastIndexOf('.'); dot > 0; dot = path.lastIndexOf('.', dot - 1)) {
    const name = path.slice(0, dot);
    if (Object.hasOwn(holder, name)) return find((holder as Readonly<Record<string, unknown>>)[name], path.slice(dot + 1)); // as above
  }
  return undefined;
}
