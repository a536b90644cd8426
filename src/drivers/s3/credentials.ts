/**
 * Who we are to an S3 where the configuration does not say: what the AWS SDK's default chain finds and renews by itself
 * (environment, shared files, web identity, container, instance). Here is only what its failures mean: they are not
 * the store's, and must be told as what they are.
 */
import { DriverError } from '../driver.ts';
import { codeOf, statusOf } from './errors.ts';

/** Where the environment sends the chain. The SDK reads these itself, of the process. */
const POINTERS = ['AWS_PROFILE', 'AWS_WEB_IDENTITY_TOKEN_FILE', 'AWS_CONTAINER_CREDENTIALS_RELATIVE_URI', 'AWS_CONTAINER_CREDENTIALS_FULL_URI'];
const MENDING = 'set accessKeyId and secretAccessKeyFile, or give credentials in one of the ways of the AWS default chain (environment, shared files, web identity, container or instance metadata)';

export interface CredentialsContext {
  /** In messages, e.g. `S3 at https://s3.example.org`. */
  readonly store: string;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/**
 * Waits until there are credentials. They are kept by the SDK, which asks for others when they are about to end: most
 * often this is over at once.
 * @throws DriverError, or the signal's reason
 */
export async function awaitCredentials(provider: () => Promise<unknown>, context: CredentialsContext, signal: AbortSignal): Promise<void> {
  const left = Promise.withResolvers<never>();
  const onAbort = (): void => left.reject(signal.reason);
  signal.throwIfAborted();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    // Not every way of the chain has a deadline.
    await Promise.race([provider().catch((error: unknown) => Promise.reject(credentialsError(error, context))), left.promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

export function credentialsError(error: unknown, { store, env }: CredentialsContext): DriverError {
  const { message } = error as Error; // the SDK and Node throw nothing else
  const code = codeOf(error);
  const status = statusOf(error);
  const pointers = POINTERS.filter((name) => (env[name] ?? '') !== '');
  const whence = pointers.length === 0 ? '' : `; the environment has ${pointers.join(' and ')}`;
  const said = PLAIN.has(code) || message.includes(code) ? message : `${code}: ${message}`;
  const text = `no credentials for ${store}: ${said.slice(0, 300)}${whence}`;
  // `answered`: a service of credentials that is away says nothing about the store.
  if (status === undefined ? BROKEN.has(code) : status >= 500 || status === 429) return new DriverError('retryable', text, { cause: error, answered: true });
  return new DriverError('permanent', status === undefined ? `${text}; ${MENDING}` : `${text}; may this identity have the role?`, { cause: error });
}

/** Names of errors that say nothing. */
const PLAIN: ReadonlySet<string> = new Set(['', 'Error', 'CredentialsProviderError']);
/** A connection to whoever gives credentials. */
const BROKEN: ReadonlySet<string> = new Set(['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH', 'ENOTFOUND', 'EAI_AGAIN', 'TimeoutError']);
