/** Keeps secrets out of logs: what they are called in URLs, in headers and among the fields of an event. */

/** Query parameters that carry a right: our own and those of signed URLs that upstreams redirect to. Lower case. */
const SECRET_PARAMETERS: ReadonlySet<string> = new Set([
  '_state',
  'token',
  'access_token',
  'refresh_token',
  'id_token',
  'code',
  'password',
  'client_secret',
  'api_key',
  'x-amz-signature',
  'x-amz-security-token',
  'x-amz-credential',
  'x-goog-signature',
  'x-goog-credential',
  'signature',
  'sig',
  'policy',
  'verify',
  'temp_url_sig',
]);

/** Fields whose whole value is a secret, however they are spelled. */
const SECRET_FIELD = /^(?:proxy-?)?authorization$|^(?:set-?)?cookie$|token$|^password$|secret$|^x-auth-/i;

const HIDDEN = '***';

/** Whether a field of this name must not show its value. */
export function isSecretField(name: string): boolean {
  return SECRET_FIELD.test(name);
}

/** A URL or request target with the values of its secret parameters hidden. */
export function redactUrl(url: string): string {
  const mark = url.indexOf('?');
  if (mark < 0) return url;
  let changed = false;
  const pairs = url
    .slice(mark + 1)
    .split('&')
    .map((pair) => {
      const equals = pair.indexOf('=');
      if (equals < 0 || !SECRET_PARAMETERS.has(parameterName(pair.slice(0, equals)))) return pair;
      changed = true;
      return `${pair.slice(0, equals)}=${HIDDEN}`;
    });
  return changed ? `${url.slice(0, mark)}?${pairs.join('&')}` : url;
}

function parameterName(raw: string): string {
  if (!raw.includes('%')) return raw.toLowerCase();
  try {
    return decodeURIComponent(raw).toLowerCase();
  } catch {
    return raw.toLowerCase();
  }
}

const SUSPICIOUS = /[?&][^\s"'<>=&]*=|:\/\/[^\s/@]*@|\b(?:bearer|basic)\s/i;
const URL_WITH_QUERY = /[^\s"'<>?]*\?[^\s"'<>]*/g;
const USER_INFO = /:\/\/[^\s/@]*@/g;
const CREDENTIALS = /\b(bearer|basic)\s+[\w.~+/=-]+/gi;

/** Free text, such as an error's message, with what looks like a secret in it hidden. */
export function redactText(text: string): string {
  if (!SUSPICIOUS.test(text)) return text;
  return text.replace(URL_WITH_QUERY, redactUrl).replace(USER_INFO, `://${HIDDEN}@`).replace(CREDENTIALS, `$1 ${HIDDEN}`);
}
