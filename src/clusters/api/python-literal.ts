/** A dictionary of texts as Python prints it, which `openstack coe … update … replace labels=…` sends in place of JSON. */

/** `'…'` or `"…"` with Python's escapes. */
const TEXT = /(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)")/y;
const ESCAPES: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r', '\\': '\\', "'": "'", '"': '"' };

/** Also takes a JSON object. Undefined: neither. */
export function pythonDictionary(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Readonly<Record<string, unknown>>) : undefined; // an object
  } catch {
    return parse(text.trim());
  }
}

function parse(text: string): Readonly<Record<string, string>> | undefined {
  const found = new Map<string, string>();
  let at = 0;
  const skip = (token: string): boolean => {
    while (text[at] === ' ') at++;
    if (text[at] !== token) return false;
    at++;
    while (text[at] === ' ') at++;
    return true;
  };
  const string = (): string | undefined => {
    TEXT.lastIndex = at;
    const match = TEXT.exec(text);
    if (match === null) return undefined;
    at = TEXT.lastIndex;
    return unescaped(match[1] ?? match[2] ?? '');
  };
  if (!skip('{')) return undefined;
  while (!skip('}')) {
    if (found.size > 0 && !skip(',')) return undefined;
    const key = string();
    if (key === undefined || !skip(':')) return undefined;
    const value = string();
    if (value === undefined) return undefined;
    found.set(key, value);
  }
  return at === text.length ? Object.fromEntries(found) : undefined;
}

function unescaped(text: string): string {
  return text.replace(/\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8})|(.))/gs, (whole, byte?: string, short?: string, long?: string, other?: string) => {
    const code = byte ?? short ?? long;
    if (code !== undefined) return Number.parseInt(code, 16) <= 0x10ffff ? String.fromCodePoint(Number.parseInt(code, 16)) : whole;
    return ESCAPES[other ?? ''] ?? whole;
  });
}
