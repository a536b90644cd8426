/** TLS as a client: whom servers are trusted by, and what a failed handshake means and how to mend it. */
import { createSecureContext, getCACertificates, type SecureContext } from 'node:tls';

/**
 * For all connections of a client: parsing 150 authorities for each would take longer than the handshake.
 * @param ca PEM text of authorities trusted beside those that Node trusts
 */
export function trusting(ca: string | undefined): { readonly secureContext?: SecureContext } {
  return ca === undefined ? {} : { secureContext: createSecureContext({ ca: [...getCACertificates('default'), ca] }) };
}

/** What naming the authority mends. */
const UNTRUSTED: ReadonlySet<string> = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT', 'SELF_SIGNED_CERT_IN_CHAIN', 'UNABLE_TO_GET_ISSUER_CERT', 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'CERT_UNTRUSTED',
]);

/**
 * Undefined: the error is about something else.
 * @param server as a message names it
 * @param key of the configuration that names authorities
 */
export function handshakeProblem(error: unknown, server: string, key: string): string | undefined {
  const { code, message = '' } = error as { readonly code?: unknown; readonly message?: string }; // undici, node and the AWS SDK throw Errors
  if (typeof code !== 'string') return undefined;
  if (UNTRUSTED.has(code)) return `the certificate of ${server} is not trusted (${code}); name the authority that signed it in ${key}`;
  if (code.startsWith('CERT_') || code === 'ERR_TLS_CERT_ALTNAME_INVALID') return `the certificate of ${server} is no good: ${message === '' ? code : message}`;
  if (code === 'ERR_SSL_WRONG_VERSION_NUMBER' || code === 'ERR_SSL_PACKET_LENGTH_TOO_LONG' || code === 'EPROTO') {
    return `${server} does not speak TLS as expected (${code}); expected http:// in the URL?`;
  }
  return undefined;
}
