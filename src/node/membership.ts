/**
 * A node's place in its cluster: how it comes to its credential on the first start, and how it keeps it. A service that is
 * away never stops a node that has its credential; nor does one that knows the node no more.
 */
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { isBootstrapToken, keyOf, MAX_ERROR_LENGTH, type BootstrapAnswer, type NodeRole, type RenewRequest } from '../bootstrap-wire.ts';
import { pause, type Timers } from '../workers/timers.ts';
import { ServiceError, type ClustersService } from './service.ts';
import type { NodeIdentity, NodeState } from './state.ts';

/** What of the log is used here. */
export interface NodeLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** How the node is, when it is asked. */
export interface Condition {
  /** What the store fails with; undefined: nothing. */
  readonly error: string | undefined;
  readonly disk: RenewRequest['disk'];
}

export interface MembershipDeps {
  readonly service: ClustersService;
  readonly state: NodeState;
  /** Where the service is, for messages. */
  readonly url: string;
  readonly tokenFile: string;
  readonly node: { readonly name: string; readonly role: NodeRole; readonly arch: string; readonly version: string };
  /** Of the configuration; undefined: it says nothing of it. */
  readonly storage: string | undefined;
  readonly condition: () => Promise<Condition>;
  /** Told where the cluster turns out to be deleted. */
  readonly gone: (why: string) => void;
  readonly log: NodeLog;
  readonly timers: Timers;
  /** From 0 to less than 1. */
  readonly random: () => number;
}

const FIRST_WAIT_MS = 1_000;
const LONGEST_WAIT_MS = 30_000;
/** Renewals are so much earlier or later: nodes that started together part. */
const JITTER = 0.2;
/** That the node has a new credential is told soon: the old one goes when all have it. */
const TELL_MS = 2_000;

/**
 * Resolves when the node has a credential for what it is configured for: at once where one is there already.
 * @throws Error that says how to get a new token, where the service refuses the one that is there
 */
export async function join(deps: MembershipDeps, signal: AbortSignal): Promise<void> {
  const { state, log, url } = deps;
  await state.prepare();
  const before = await state.identity();
  // One that opens another storage than this node is configured for by now would not let it start.
  const fits = before?.storage === undefined || deps.storage === undefined || before.storage === deps.storage;
  if (fits && (await state.hasCredential())) return;
  for (let waitMs = FIRST_WAIT_MS; ; waitMs = Math.min(2 * waitMs, LONGEST_WAIT_MS)) {
    try {
      const identity = await state.identity();
      const { hash } = await tokenIn(deps.tokenFile).catch(() => ({ hash: undefined }));
      // A node that lost its credential alone needs no token.
      if (isJoined(identity) && (hash === undefined || hash === identity.tokenHash) && (await renewOnce(deps, { ...identity, generation: 0 }, undefined, signal).then(() => true, asAbsent))) return;
      await exchange(deps, signal).catch(async (error: unknown) => {
        // What it is known by is worth more than a token.
        if (!isRefusal(error) || !isJoined(identity) || !(await renewOnce(deps, { ...identity, generation: 0 }, undefined, signal).then(() => true, asAbsent))) throw error;
      });
      return;
    } catch (error) {
      if (!(error instanceof ServiceError) || error.failure !== 'away') throw inWords(error, deps);
      const nextMs = Math.max(waitMs * (0.5 + deps.random() / 2), error.retryAfterMs ?? 0);
      log.warn({ service: url, error: error.message, waitMs: Math.round(nextMs) }, 'waiting for the cluster service, which has the credential of this node');
      await pause(nextMs, deps.timers, signal);
    }
  }
}

/** Renews until the signal is aborted or the cluster is gone; never rejects. */
export async function stay(deps: MembershipDeps, signal: AbortSignal): Promise<void> {
  const { state, log, url, timers, random } = deps;
  let trouble: string | undefined;
  /** What the store failed with, until the service has heard of it. */
  let untold: string | undefined;
  /** Of a token that is no good, for a node that has a key. */
  let refusedHash: string | undefined;
  let waitMs = TELL_MS * random();
  let fastMs = FIRST_WAIT_MS;
  for (;;) {
    await pause(waitMs, timers, signal).catch(() => undefined);
    if (signal.aborted) return;
    let regularMs = LONGEST_WAIT_MS;
    try {
      const identity = await state.identity();
      regularMs = (identity?.renewSeconds ?? 0) * 1000 || LONGEST_WAIT_MS;
      const { hash } = await tokenIn(deps.tokenFile).catch(() => ({ hash: undefined }));
      const isNew = !isJoined(identity) || (hash !== undefined && hash !== identity.tokenHash && hash !== refusedHash);
      const condition = await deps.condition();
      untold = condition.error ?? untold;
      const renewed = async (): Promise<{ readonly taken: boolean; readonly renewSeconds: number }> => {
        if (!isJoined(identity)) throw new Error('this node is not known to its cluster service');
        const answer = await renewOnce(deps, identity, { ...condition, error: untold }, signal);
        untold = undefined;
        return answer;
      };
      const { taken, renewSeconds } = !isNew ? await renewed() : await exchange(deps, signal).then((answer) => ({ taken: true, renewSeconds: answer.renewSeconds }), async (error: unknown) => {
        if (!isRefusal(error) || !isJoined(identity)) throw error;
        log.warn({ service: url, error: error.message }, `the bootstrap token in ${deps.tokenFile} is no good, and not needed: this node goes on by its key`);
        refusedHash = hash;
        return await renewed();
      });
      if (trouble !== undefined) log.info({ service: url }, 'the cluster service answers again');
      trouble = undefined;
      fastMs = FIRST_WAIT_MS;
      waitMs = taken ? TELL_MS : renewSeconds * 1000 * (1 - JITTER + 2 * JITTER * random());
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof ServiceError && error.failure === 'gone') {
        log.warn({ service: url, error: error.message }, 'the cluster of this node is deleted: its credential is not renewed any more; what the node has is served on');
        deps.gone('the cluster of this node is deleted');
        return;
      }
      const { message } = inWords(error, deps);
      if (message !== trouble) log.warn({ service: url, error: message }, 'this node could not renew at the cluster service; it goes on with the credential that it has');
      trouble = message;
      const isAway = error instanceof ServiceError && error.failure === 'away';
      waitMs = isAway ? Math.max(Math.min(fastMs * (0.5 + random() / 2), regularMs), error.retryAfterMs ?? 0) : regularMs;
      fastMs = Math.min(2 * fastMs, regularMs);
    }
  }
}

/** With the token of the file. Who it asks as stands on the disk before: an answer that is lost costs no second use of the token. */
async function exchange({ service, state, tokenFile, node, storage, log, url }: MembershipDeps, signal: AbortSignal): Promise<BootstrapAnswer> {
  const { token, hash } = await tokenIn(tokenFile);
  const before = await state.identity();
  const self = before ?? { id: randomUUID(), key: keyOf(randomBytes(32)), renewSeconds: 0, generation: 0, tokenHash: NO_TOKEN };
  if (before === undefined) await state.putIdentity(self);
  const answer = await service.exchange({ token, node, self: { id: self.id, key: self.key } }, signal);
  const { node: { id, key }, renewSeconds, generation, credential, pushUser } = answer;
  // First who we are: with that the credential can be had again.
  const identity = { id, key, renewSeconds, generation, tokenHash: hash };
  await state.putIdentity({ ...identity, storage: NO_STORAGE });
  await state.putCredential(credential, pushUser);
  await state.putIdentity({ ...identity, storage });
  log.info({ service: url, node: id, generation }, 'this node joined its cluster');
  return answer;
}

async function renewOnce({ service, state, node, storage, log, url }: MembershipDeps, identity: NodeIdentity, condition: Condition | undefined, signal: AbortSignal): Promise<{ readonly taken: boolean; readonly renewSeconds: number }> {
  const { id, key, generation: has } = identity;
  const report: RenewRequest = { version: node.version, role: node.role, lastError: condition?.error === undefined ? null : oneLine(condition.error), disk: condition?.disk ?? null, generation: has, ...(storage !== undefined && { storage }) };
  const { generation, renewSeconds, credential, pushUser, outdated } = await service.renew(id, key, report, signal);
  if (credential === undefined) {
    if (has === 0) throw new ServiceError('wrong', `${url} renewed this node without a credential`);
    if (renewSeconds !== identity.renewSeconds) await state.putIdentity({ ...identity, renewSeconds });
    if (outdated === true) log.warn({ service: url, generation: has }, 'the cluster has another storage by now than this node is configured for: it keeps the credential that it has, which ends; give it what format=upgrade renders');
    return { taken: false, renewSeconds };
  }
  await state.putCredential(credential, pushUser);
  await state.putIdentity({ ...identity, renewSeconds, generation, storage });
  log.info({ service: url, generation }, 'this node has a new credential');
  return { taken: true, renewSeconds };
}

/** Of a credential that may not be there yet. */
const NO_STORAGE = '';
/** Of who has not joined yet. */
const NO_TOKEN = '';

function isJoined(identity: NodeIdentity | undefined): identity is NodeIdentity {
  return identity !== undefined && identity.tokenHash !== NO_TOKEN;
}

function isRefusal(error: unknown): error is ServiceError {
  return error instanceof ServiceError && (error.failure === 'refused' || error.failure === 'gone');
}

async function tokenIn(path: string): Promise<{ readonly token: string; readonly hash: string }> {
  const token = (await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new Error(`the bootstrap token cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  })).trim();
  if (!isBootstrapToken(token)) throw new Error(`${path} does not hold a bootstrap token`);
  return { token, hash: createHash('sha256').update(token).digest('hex') };
}

/** Whether a key is no use any more, so that a token is needed. */
function asAbsent(error: unknown): false {
  if (isRefusal(error)) return false;
  throw error;
}

function inWords(error: unknown, { tokenFile, url }: MembershipDeps): Error {
  if (error instanceof ServiceError && error.failure === 'refused')
    return new Error(`the cluster service at ${url} does not know this node (${error.message}): get new artifacts of the cluster, put their bootstrap token in ${tokenFile}, and restart`, { cause: error });
  if (error instanceof ServiceError && error.failure === 'gone') return new Error(`the cluster that the bootstrap token in ${tokenFile} is of is deleted (${error.message})`, { cause: error });
  return error instanceof Error ? error : new Error(String(error));
}

function oneLine(text: string): string {
  // eslint-disable-next-line no-control-regex -- that is the point
  return text.replace(/[\u0000-\u001f\u007f]+/g, ' ').slice(0, MAX_ERROR_LENGTH) || 'unknown';
}
