/** The cluster service as a node asks it: what is sent, and what an answer or its absence means. */
import {
  BOOTSTRAP_PATH, MAX_BODY_BYTES, parseBootstrapAnswer, parseRenewAnswer, renewPath, WireError,
  type BootstrapAnswer, type BootstrapRequest, type RenewAnswer, type RenewRequest,
} from '../bootstrap-wire.ts';
import type { FailureOptions } from '../openstack/failure.ts';
import { retryAfterMs } from '../openstack/identity.ts';
import { wire } from '../openstack/wire.ts';

/**
 * away: may answer later. refused: the token or key is no good (401). gone: the cluster is deleted (410).
 * wrong: this is no cluster service, or one that does not understand us.
 */
export type ServiceFailure = 'away' | 'refused' | 'gone' | 'wrong';

export class ServiceError extends Error {
  override readonly name = 'ServiceError';
  readonly failure: ServiceFailure;
  readonly retryAfterMs: number | undefined;

  constructor(failure: ServiceFailure, message: string, { cause, retryAfterMs: waitMs }: FailureOptions = {}) {
    super(message, { cause });
    this.failure = failure;
    this.retryAfterMs = waitMs;
  }
}

export interface ClustersService {
  /** All reject with ServiceError, or the signal's reason. */
  exchange(request: BootstrapRequest, signal: AbortSignal): Promise<BootstrapAnswer>;
  renew(id: string, key: string, request: RenewRequest, signal: AbortSignal): Promise<RenewAnswer>;
  close(): Promise<void>;
}

/** For one question, to the end of its answer. */
const PATIENCE_MS = 30_000;
const MAX_REASON = 300;

/** @param url without a trailing slash */
export function clustersService({ url, ca }: { readonly url: string; readonly ca: string | undefined }): ClustersService {
  const connection = wire({
    ca, insecure: false, caKey: 'node.ca', expected: 'the cluster service', maxBytes: MAX_BODY_BYTES,
    failed: (kind, message, options) => new ServiceError(kind === 'retryable' ? 'away' : 'wrong', message, options),
  });

  const post = async <Answer>(path: string, body: object, headers: Readonly<Record<string, string>>, parse: (text: string) => Answer, signal: AbortSignal): Promise<Answer> => {
    const target = `${url}${path}`;
    const late = AbortSignal.timeout(PATIENCE_MS);
    const answer = await connection
      .send({ method: 'POST', url: target, headers: { 'content-type': 'application/json', accept: 'application/json', ...headers }, body: JSON.stringify(body) }, AbortSignal.any([signal, late]))
      .catch((error: unknown) => {
        signal.throwIfAborted();
        if (late.aborted) throw new ServiceError('away', `${target} did not answer within ${PATIENCE_MS / 1000} s`, { cause: error });
        throw error;
      });
    const { status, text } = answer;
    const said = `${target} answered ${status}${reasonIn(text)}`;
    if (status === 401) throw new ServiceError('refused', said);
    if (status === 410) throw new ServiceError('gone', said);
    if (status === 408 || status === 429 || status >= 500) throw new ServiceError('away', said, { retryAfterMs: retryAfterMs(answer) });
    if (status !== 200) throw new ServiceError('wrong', `${said}; expected the URL of the cluster service in node.clusters`);
    try {
      return parse(text);
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      throw new ServiceError('wrong', `${target} answered, but not as the cluster service does (${error.message})`, { cause: error });
    }
  };

  return {
    exchange: async (request, signal) => await post(BOOTSTRAP_PATH, request, {}, parseBootstrapAnswer, signal),
    renew: async (id, key, request, signal) => await post(renewPath(id), request, { authorization: `Bearer ${key}` }, parseRenewAnswer, signal),
    close: async () => await connection.close(),
  };
}

/** What an error body of ours says; nothing of anything else. */
function reasonIn(text: string): string {
  try {
    const { errors } = JSON.parse(text) as { readonly errors?: readonly { readonly detail?: unknown }[] }; // looked at with care
    const detail = errors?.[0]?.detail;
    return typeof detail === 'string' ? `: ${detail.replace(/\s+/g, ' ').slice(0, MAX_REASON)}` : '';
  } catch {
    return '';
  }
}
