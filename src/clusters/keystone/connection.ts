/**
 * Calls of the service to Keystone and Swift: deadline, retries of what may be done twice, and what a status means. A
 * message names what was asked and what to do, and has neither tokens nor what `secrets` says.
 */
import { retryAfterMs, saidBy } from '../../openstack/identity.ts';
import { wire as openWire, type Wire, type WireAnswer, type WireRequest } from '../../openstack/wire.ts';
import { pause, type Timers } from '../../workers/timers.ts';
import { CloudError, cloudFailure, isCloudError } from './cloud-error.ts';
import type { CloudSettings } from './settings.ts';

export interface Call {
  /** In messages: `make user x of domain y`. */
  readonly what: string;
  readonly method: WireRequest['method'];
  readonly url: string;
  readonly token: string;
  /** JSON. */
  readonly json?: object;
  readonly text?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Statuses that are answers. */
  readonly expect: readonly number[];
  /** May not be done twice: whoever calls looks at what became of it. */
  readonly once?: boolean;
  /** By status: why, and what to do. */
  readonly remedies?: Readonly<Record<number, string>>;
  /** Besides the token: what no message may have. */
  readonly secrets?: readonly string[];
}

export interface Connection {
  /** For logins, which have messages of their own. */
  readonly wire: Wire;
  /** @throws CloudError, or the signal's reason */
  call(call: Call, signal: AbortSignal): Promise<WireAnswer>;
  /** With deadline and retries. */
  run<T>(what: string, attempt: (signal: AbortSignal) => Promise<T>, signal: AbortSignal, once?: boolean): Promise<T>;
  close(): Promise<void>;
}

export interface ConnectionDeps {
  readonly settings: Pick<CloudSettings, 'ca' | 'insecure'>;
  readonly timers: Timers;
  /** From 0 to less than 1. */
  readonly random: () => number;
  /** Who is expected to answer, for messages. */
  readonly expected?: string;
  /** The most that an answer may have. */
  readonly maxBytes?: number;
}

const DEADLINE_MS = 20_000;
const ATTEMPTS = 4;
const BASE_MS = 250;
const LONGEST_WAIT_MS = 5_000;
/** The server works, and the same call may fare better. */
const CALL_AGAIN: ReadonlySet<number> = new Set([408, 425, 429, 498, 499]);

export function connection({ settings, timers, random, expected = 'Keystone or Swift', maxBytes }: ConnectionDeps): Connection {
  const wire = openWire({ ca: settings.ca, insecure: settings.insecure, failed: cloudFailure, caKey: 'clusters.keystone.ca', expected, ...(maxBytes !== undefined && { maxBytes }) });

  async function within<T>(what: string, attempt: (signal: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T> {
    const late = new AbortController();
    const cancel = timers.after(DEADLINE_MS, () => late.abort(new CloudError('retryable', `${what}: no answer within ${DEADLINE_MS / 1000} s`)));
    try {
      return await attempt(AbortSignal.any([late.signal, signal]));
    } finally {
      cancel();
    }
  }

  const run: Connection['run'] = async (what, attempt, signal, once = false) => {
    for (let n = 1; ; n++) {
      try {
        return await within(what, attempt, signal);
      } catch (error) {
        signal.throwIfAborted();
        if (once || n >= ATTEMPTS || !isCloudError(error) || error.failure !== 'retryable') throw error;
        await pause(Math.min(LONGEST_WAIT_MS, error.retryAfterMs ?? random() * BASE_MS * 2 ** n), timers, signal);
      }
    }
  };

  return {
    wire, run,
    async call(call, signal) {
      const { what, method, url, token, json, text, headers } = call;
      const body = json === undefined ? text : JSON.stringify(json);
      const request: WireRequest = {
        method, url,
        headers: { 'x-auth-token': token, accept: 'application/json', ...(json === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
        ...(body === undefined ? {} : { body }),
      };
      return await run(what, async (attempt) => {
        const answer = await wire.send(request, attempt).catch((error: unknown) => {
          throw isCloudError(error) ? new CloudError(error.failure, `${what}: ${hidden(call, error.message)}`, { cause: error.cause, retryAfterMs: error.retryAfterMs }) : error;
        });
        if (call.expect.includes(answer.status)) return answer;
        throw refusal(call, answer);
      }, signal, call.once);
    },
    close: async () => await wire.close(),
  };
}

/** What was answered, of which nothing goes into a message: it may be a secret. @throws CloudError where it is no JSON, as of a proxy between */
export function jsonOf(what: string, text: string): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = undefined;
  }
  if (typeof value !== 'object' || value === null) throw new CloudError('retryable', `${what}: the answer is not that of Keystone or Swift`);
  return value;
}

function refusal(call: Call, answer: WireAnswer): CloudError {
  const { status } = answer;
  const said = hidden(call, saidBy(answer, call.token));
  const remedy = call.remedies?.[status];
  const message = `${call.what}: ${new URL(call.url).host} answered ${status}${said}${remedy === undefined ? '' : `: ${remedy}`}`;
  const failure = status >= 500 || CALL_AGAIN.has(status) ? 'retryable' : 'permanent';
  return new CloudError(failure, message, { status, retryAfterMs: retryAfterMs(answer) });
}

function hidden({ token, secrets = [] }: Call, text: string): string {
  return [token, ...secrets].filter((secret) => secret !== '').reduce((safe, secret) => safe.replaceAll(secret, '***'), text);
}
