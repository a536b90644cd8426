/**
 * Requests to an S3 store: the SDK set up as look-alikes need it, each call with a deadline and tried again by the one
 * rule that all stores share (`attempts.ts`; the SDK's own retries are off). Knows nothing of our keys.
 */
import { createHash } from 'node:crypto';
import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { S3Client, type S3ClientConfig } from '@aws-sdk/client-s3';
import { trusting } from '../../tls/trust.ts';
import type { Attempts, RunOptions } from '../object-store/attempts.ts';
import { awaitCredentials } from './credentials.ts';
import { isAbsence, s3Error } from './errors.ts';

/** Which store, and who we are to it. */
export interface S3Access {
  readonly bucket: string;
  /** Undefined: AWS, by region. */
  readonly endpoint: string | undefined;
  readonly region: string;
  /** Undefined: the default credential chain of AWS, which `@aws-sdk/client-s3` brings. */
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: { reveal(): string } } | undefined;
  /** `https://endpoint/bucket/key` instead of `https://bucket.endpoint/key`. */
  readonly pathStyle: boolean;
  /** PEM text of extra authorities. */
  readonly ca: string | undefined;
  /** Certificates are not checked. */
  readonly insecure: boolean;
}

export interface S3ClientOptions extends S3Access {
  readonly attempts: Attempts;
  /** In messages, e.g. `S3 at https://s3.example.org`. */
  readonly store: string;
}

/** Handed to the SDK with every command. */
export interface Http {
  readonly abortSignal: AbortSignal;
}

export type Command<T> = (client: S3Client, http: Http) => Promise<T>;

/** Calls that end soon, and bodies that may flow for as long as a client takes them: neither keeps the other waiting. */
const CALL_CONNECTIONS = 64;
const BODY_CONNECTIONS = 512;
const CONNECT_MS = 10_000;

const SILENT = { trace: ignore, debug: ignore, info: ignore, warn: ignore, error: ignore };

/** What a store is called, however its endpoint is spelt. */
export function s3Name({ endpoint, region }: Pick<S3Access, 'endpoint' | 'region'>): string {
  return `S3 at ${endpoint === undefined ? `AWS ${region}` : new URL(endpoint).origin}`;
}

export class S3Calls {
  readonly bucket: string;
  readonly store: string;
  readonly #attempts: Attempts;
  readonly #calls: S3Client;
  readonly #bodies: S3Client;
  readonly #foundByChain: boolean;
  /** Of the requests that were answered with these errors. */
  readonly #methods = new WeakMap<object, string>();
  /** By the answers they came with. */
  readonly #headers = new WeakMap<object, Readonly<Record<string, string>>>();

  constructor(options: S3ClientOptions) {
    this.bucket = options.bucket;
    this.store = options.store;
    this.#attempts = options.attempts;
    const { credentials } = options;
    const own = credentials === undefined ? undefined : { accessKeyId: credentials.accessKeyId, secretAccessKey: credentials.secretAccessKey.reveal() };
    this.#calls = this.#client(options, CALL_CONNECTIONS, own);
    // What the one found, the other need not look for.
    this.#bodies = this.#client(options, BODY_CONNECTIONS, own ?? this.#calls.config.credentials);
    this.#foundByChain = own === undefined;
  }

  /**
   * One call, tried again where that helps.
   * @throws DriverError, or the signal's reason
   */
  async run<T>(what: string, command: Command<T>, options: RunOptions = {}): Promise<T> {
    return this.#run(this.#calls, what, command, options);
  }

  /** The same where absence is an answer: `undefined`. */
  async find<T>(what: string, command: Command<T>, options: RunOptions = {}): Promise<T | undefined> {
    return this.#run(this.#calls, what, absentAsUndefined(command), options);
  }

  /** The same for an answer whose body is read afterwards. */
  async findBody<T>(what: string, command: Command<T>, options: RunOptions = {}): Promise<T | undefined> {
    return this.#run(this.#bodies, what, absentAsUndefined(command), options);
  }

  /** The headers that an answer came with, by lower-case name. */
  headersOf(answer: object): Readonly<Record<string, string>> {
    return this.#headers.get(answer) ?? {};
  }

  /** For signing URLs, not for requests. */
  get signer(): S3Client {
    return this.#calls;
  }

  close(): void {
    this.#calls.destroy();
    this.#bodies.destroy();
  }

  async #run<T>(client: S3Client, what: string, command: Command<T>, options: RunOptions): Promise<T> {
    const attempt = async (abortSignal: AbortSignal): Promise<T> => {
      if (this.#foundByChain) await awaitCredentials(async () => await this.#calls.config.credentials(), { store: this.store, env: process.env }, abortSignal);
      try {
        return await command(client, { abortSignal });
      } catch (error) {
        throw s3Error(error, { what, bucket: this.bucket, store: this.store, method: this.#methods.get(error as object /* the SDK throws Errors */) });
      }
    };
    return this.#attempts.run(what, attempt, options);
  }

  #client(options: S3ClientOptions, maxSockets: number, credentials: S3ClientConfig['credentials']): S3Client {
    const { endpoint, region, pathStyle, ca, insecure } = options;
    const agent = { keepAlive: true, maxSockets, maxFreeSockets: CALL_CONNECTIONS };
    const config: S3ClientConfig & { readonly expectContinueHeader: boolean } = {
      region,
      forcePathStyle: pathStyle,
      maxAttempts: 1,
      // Whoever calls knows the outcome, and says it once.
      logger: SILENT,
      // Look-alikes break on the CRC32 that the SDK adds by default; parts are guarded by their MD5.
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
      // A round trip for each put, to save bodies that are refused: ours are small, and hardly ever.
      expectContinueHeader: false,
      requestHandler: {
        connectionTimeout: CONNECT_MS,
        // More calls than sockets wait in turn, each with its deadline: nothing to warn of.
        socketAcquisitionWarningTimeout: 24 * 60 * 60 * 1000,
        httpAgent: new HttpAgent(agent),
        httpsAgent: new HttpsAgent({ ...agent, rejectUnauthorized: !insecure, ...trusting(ca) }),
      },
    };
    if (endpoint !== undefined) config.endpoint = endpoint;
    if (credentials !== undefined) config.credentials = credentials;
    const client = new S3Client(config);
    client.middlewareStack.add(
      (next) => async (args) => {
        const { method } = args.request as GuardedRequest; // as below: an HttpRequest
        const answered = await next(args).catch((error: unknown) => {
          if (typeof error === 'object' && error !== null) this.#methods.set(error, method);
          throw error;
        });
        // The SDK types what comes in as unknown; with its own handler it is an HttpResponse.
        const { headers } = answered.response as { readonly headers?: Readonly<Record<string, string>> };
        if (headers !== undefined && answered.output !== undefined) this.#headers.set(answered.output, headers);
        return answered;
      },
      { step: 'deserialize', priority: 'high', name: 'keepHeaders' },
    );
    client.middlewareStack.add(
      (next) => async (args) => {
        guard(args.request as GuardedRequest); // as above: an HttpRequest
        return next(args);
      },
      { step: 'build', priority: 'low', name: 'guardBody' },
    );
    return client;
  }
}

interface GuardedRequest {
  readonly method: string;
  readonly body?: unknown;
  readonly headers: Record<string, string>;
  readonly query?: Readonly<Record<string, unknown>>;
}

/**
 * Deleting many demands a checksum: MD5 is the one that all stores know (Swift's s3api refuses others). A body that
 * carries its MD5 need not be hashed once more for the signature, which covers that header.
 */
function guard(request: GuardedRequest): void {
  const { headers, body, query } = request;
  if (query !== undefined && 'delete' in query && typeof body === 'string') {
    for (const name of Object.keys(headers)) if (/^x-amz-(?:checksum-|sdk-checksum-)/.test(name)) delete headers[name];
    headers['content-md5'] = createHash('md5').update(body).digest('base64');
  } else if (headers['content-md5'] !== undefined || headers['Content-MD5'] !== undefined) {
    headers['x-amz-content-sha256'] = 'UNSIGNED-PAYLOAD';
  }
}

function ignore(): void {}

function absentAsUndefined<T>(command: Command<T>): Command<T | undefined> {
  return async (client, http) => {
    try {
      return await command(client, http);
    } catch (error) {
      if (isAbsence(error)) return undefined;
      throw error;
    }
  };
}
