/**
 * Users and application credentials of a Keystone as logins: asked whether the password is right, in which project and
 * with which roles. What it answered is kept for a bounded time under a keyed hash that says nothing without this process;
 * passwords themselves are not kept. What it did not answer is neither a refusal nor a grant.
 */
import { createHmac } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { KeystoneConfig, Secret } from '../../config/config.ts';
import { RegistryError } from '../../oci/errors.ts';
import type { MakeFailure } from '../../openstack/failure.ts';
import { askWho, type Person } from '../../openstack/person.ts';
import { wire as openWire } from '../../openstack/wire.ts';
import { compileAttributeRules, tellMisfits, type Attributes } from '../attributes.ts';
import type { StrangerIdentity } from '../identity.ts';
import type { Login } from '../logins.ts';
import type { AuthLog } from '../reloaded-file.ts';
import { createTurns } from '../turns.ts';
import { parseLogin } from './login-name.ts';

export interface Keystone {
  check(name: string, password: Secret): Promise<Exclude<Login, { readonly kind: 'anonymous' }>>;
  close(): Promise<void>;
}

export interface KeystoneDeps {
  readonly nowMs: () => number;
  readonly randomBytes: (size: number) => Buffer;
  readonly log: AuthLog;
  /** For one request to Keystone. */
  readonly deadline?: () => AbortSignal;
}

/** Refusals are kept for no longer: whoever mends their password wants to get in. */
const REFUSED_MS = 10_000;
const KEPT = 10_000;
/** A Keystone is a few processes that hash passwords; many requests at once can stop it for good. */
const MAX_RUNNING = 4;
const MAX_WAITING = 100;
const DEADLINE_MS = 10_000;
/** After no answer. */
const PAUSE_MS = 5_000;
const COMPLAIN_MS = 60_000;

const REFUSED: StrangerIdentity = { kind: 'stranger', problem: 'wrong user name, project or password' };

/** @throws Error naming the rule and what was expected, where one could never apply */
export function createKeystone(config: KeystoneConfig, { nowMs, randomBytes, log, deadline = () => AbortSignal.timeout(DEADLINE_MS) }: KeystoneDeps): Keystone {
  const processKey = randomBytes(32);
  const rules = compileAttributeRules(config.rules, 'auth.keystone.rules');
  const failed: MakeFailure = (_, message, options) => new NoWord(message, options?.answered === true, options?.cause);
  const wire = openWire({ ca: config.ca, insecure: config.insecure, caKey: 'auth.keystone.ca', failed });
  // Apart, so that a flood of wrong passwords does not push out users at work.
  const [known, refused] = [new LRUCache<string, Kept>({ max: KEPT }), new LRUCache<string, Kept>({ max: KEPT })];
  const running = new Map<string, Promise<Person | undefined>>();
  const withTurn = createTurns({ maxRunning: MAX_RUNNING, maxWaiting: MAX_WAITING });
  let away: { readonly untilMs: number; readonly error: NoWord } | undefined;
  let complainedMs = Number.NEGATIVE_INFINITY;

  const ask = async (name: string, password: Secret): Promise<Person | undefined> => {
    if (away !== undefined && nowMs() < away.untilMs) throw away.error;
    try {
      return await askWho(parseLogin(name, password, config.domain), config.url, wire, failed, deadline());
    } catch (cause) {
      const error = cause instanceof NoWord ? cause : new NoWord(cause instanceof Error ? cause.message : 'unknown reason', false, cause);
      // What a single login makes it answer must not keep others from being asked about.
      if (!error.answered) away = { untilMs: nowMs() + PAUSE_MS, error };
      throw error;
    }
  };
  const who = (name: string, password: Secret): Promise<Person | undefined> => {
    const key = createHmac('sha256', processKey).update(JSON.stringify([name, password.reveal()])).digest('base64');
    const kept = known.get(key) ?? refused.get(key);
    if (kept !== undefined && nowMs() < kept.untilMs) return Promise.resolve(kept.person);
    let check = running.get(key); // many clients of one job log in at once
    if (check === undefined) {
      check = withTurn(() => ask(name, password))
        .then((person) => {
          const keptMs = person === undefined ? Math.min(REFUSED_MS, config.cacheForMs) : config.cacheForMs;
          known.delete(key);
          (person === undefined ? refused : known).set(key, { person, untilMs: nowMs() + keptMs });
          return person;
        })
        .finally(() => running.delete(key));
      running.set(key, check);
    }
    return check;
  };

  return {
    async check(name, password) {
      let person: Person | undefined;
      try {
        person = await who(name, password);
      } catch (error) {
        if (!(error instanceof NoWord)) throw error;
        if (nowMs() - complainedMs >= COMPLAIN_MS) {
          complainedMs = nowMs();
          log.error({ error: error.message }, 'Keystone cannot be asked: its users cannot log in');
        }
        const problem = 'Keystone does not answer, so that this login cannot be checked; try again';
        return { kind: 'stranger', problem, undecided: new RegistryError('UNAVAILABLE', problem, { cause: error, retryAfterSeconds: PAUSE_MS / 1000 }) };
      }
      if (person === undefined) return REFUSED;
      const { grants, misfits } = rules(attributesOf(person));
      if (grants.length === 0) return { kind: 'stranger', problem: `no rule of auth.keystone fits ${nameOf(person)}: ${tellMisfits(misfits)}` };
      return { kind: 'user', user: { name: nameOf(person), access: grants, credential: undefined } };
    },
    async close() {
      await wire.close();
    },
  };
}

interface Kept {
  /** Undefined: refused. */
  readonly person: Person | undefined;
  readonly untilMs: number;
}

/** Keystone did not say whose the login is. */
class NoWord extends Error {
  override readonly name = 'NoWord';
  /** It said something else. */
  readonly answered: boolean;

  constructor(message: string, answered: boolean, cause: unknown) {
    super(message, { cause });
    this.answered = answered;
  }
}

function attributesOf({ user, domain, project, roles }: Person): Attributes {
  const all: Readonly<Record<string, readonly string[]>> = { user: [user], domain: [domain], role: roles, ...(project && { project: [project.name], projectDomain: [project.domain] }) };
  return (name) => (Object.hasOwn(all, name) ? (all[name] ?? []) : []);
}

/** With a colon, which no other user's name has. */
function nameOf({ user, domain, project }: Person): string {
  return `keystone:${user}@${domain}${project === undefined ? '' : `/${project.name}`}`.replace(/\p{Cc}/gu, '');
}
