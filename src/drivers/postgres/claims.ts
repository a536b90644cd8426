/**
 * Strict claims over a store that has no lock: PostgreSQL decides, and the value is written to the store as well, so that
 * readers need no database (PROTOCOL "Claims"; `coordination` in the configuration). A claim is decided when its row is
 * committed, and answered when it stands in the store: whoever comes after one that died between the two writes it there.
 * docs/decisions/0009-postgres-claims.md says why in this order.
 */
import { randomUUID } from 'node:crypto';
import type { Timers } from '../../workers/timers.ts';
import { DriverAround } from '../around.ts';
import { DriverError, type CallOptions, type Claimed, type Driver, type PutOptions, type Stat } from '../driver.ts';
import { checkKey } from '../key.ts';
import { Database, type Connection } from './database.ts';

export interface StrictClaimsOptions {
  /** `postgres://user:password@host:port/database`. */
  readonly url: string;
  /**
   * The name that the store goes by in the database: the same for all who use the store, whatever they call it, and no
   * other store's. Or the key where the store itself keeps one, which is made when it is first used.
   */
  readonly store: { readonly name: string } | { readonly key: string };
  /** Keys that may be claimed; for others `claim` fails, and deleting them does not ask the database. Default: all. */
  readonly claimable?: (key: string) => boolean;
  readonly timers: Timers;
  readonly nowMs: () => number;
  readonly report: (event: { readonly kind: string; readonly [field: string]: unknown }) => void;
}

const TABLE = 'umbra_claims';
const CREATE = `CREATE TABLE IF NOT EXISTS ${TABLE} (
  store text NOT NULL,
  key text COLLATE "C" NOT NULL,
  value bytea NOT NULL,
  nonce uuid NOT NULL,
  claimed_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (store, key)
)`;
/** One statement, committed by itself. Of several at once, one inserts. No row: deleted, or not to be seen yet; then again. */
const DECIDE = `WITH made AS (
  INSERT INTO ${TABLE} (store, key, value, nonce) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING RETURNING value, nonce
)
SELECT value, nonce FROM made
UNION ALL SELECT value, nonce FROM ${TABLE} WHERE store = $1 AND key = $2
LIMIT 1`;
const HOLD = `SELECT nonce FROM ${TABLE} WHERE store = $1 AND key = $2 FOR UPDATE`;
const FORGET = `DELETE FROM ${TABLE} WHERE store = $1 AND key = ANY ($2)`;
/** Any number that only we lock, while a store gets its name. */
const NAMING_LOCK = 0x756d_6272;
/** A claim is small; a large value would fill the database. */
const MAX_VALUE_BYTES = 1024 * 1024;
/** What is done to the store while a row is held ends before the server ends the transaction (30 s) and lets others have the row. */
const HELD_MS = 20_000;
/** Decided and deleted again between two looks, so many times in a row: something is wrong. */
const MAX_ROUNDS = 20;

interface Decided {
  readonly value: Buffer;
  /** Sets the one call that made the row apart from all others, though they claim the same value. */
  readonly nonce: string;
}

interface Outcome {
  readonly won: boolean;
  readonly decided: Buffer;
  /** Of what this call wrote to the store. */
  readonly stat: Stat | undefined;
}

/**
 * Opens the database, makes its table where it is missing, and finds the name that the store has there.
 * @throws DriverError where the database cannot be used, with what to do about it
 */
export async function openStrictClaims(inner: Driver, options: StrictClaimsOptions): Promise<Driver> {
  const { url, timers, nowMs, report } = options;
  const database = new Database({ url, timers, nowMs, report });
  try {
    await makeTable(database);
    const name = 'name' in options.store ? options.store.name : await nameOf(inner, options.store.key, database, timers);
    return new StrictClaims(inner, database, name, options.claimable ?? (() => true), timers);
  } catch (error) {
    await database.close();
    throw error;
  }
}

async function makeTable(database: Database): Promise<void> {
  const there = async (connection: Connection): Promise<boolean> => {
    const [row] = await connection.query<{ there: boolean }>(`SELECT to_regclass('${TABLE}') IS NOT NULL AS there`);
    return row?.there === true;
  };
  await database.run('use coordination', async (connection) => {
    if (await there(connection)) return;
    try {
      await connection.query(CREATE);
    } catch (error) {
      if (!(await there(connection))) throw error; // else somebody else made it at the same moment
    }
  });
  const [may] = await database.run('use coordination', async (connection) => {
    const all = ['SELECT', 'INSERT', 'UPDATE', 'DELETE'].map((right) => `has_table_privilege('${TABLE}', '${right}')`).join(' AND ');
    return await connection.query<{ may: boolean; user: string }>(`SELECT ${all} AS may, current_user AS user`);
  });
  if (may?.may !== true) {
    const user = may?.user ?? 'the user';
    const mend = `GRANT SELECT, INSERT, UPDATE, DELETE ON ${TABLE} TO ${user}`;
    throw new DriverError('permanent', `cannot use coordination: the ${database.place} does not permit ${user} to use the table ${TABLE}: ${mend}`);
  }
}

/** The store holds its name itself; the database only sees to it that it gets one name. */
async function nameOf(inner: Driver, key: string, database: Database, timers: Timers): Promise<string> {
  return await database.transaction('name the store', async (connection) => {
    await connection.query('SELECT pg_advisory_xact_lock($1)', [NAMING_LOCK]);
    return await whileHeld({ doing: 'name the store', timers }, async (signal) => {
      const held = await inner.get(key, { signal });
      if (held !== undefined) return held.bytes.toString('utf8');
      const name = randomUUID();
      await inner.put(key, Buffer.from(name), { signal });
      return name;
    });
  });
}

/** `check` is the store's only: without its database a node serves and takes images all the same. */
class StrictClaims extends DriverAround {
  override readonly claims = 'strict';
  readonly #database: Database;
  readonly #store: string;
  readonly #claimable: (key: string) => boolean;
  readonly #timers: Timers;

  constructor(inner: Driver, database: Database, store: string, claimable: (key: string) => boolean, timers: Timers) {
    super(inner);
    this.#timers = timers;
    this.#database = database;
    this.#store = store;
    this.#claimable = claimable;
  }

  override async put(key: string, bytes: Uint8Array, options: PutOptions = {}): Promise<Stat> {
    const { when, ...unconditional } = options;
    if (when !== 'absent' || !this.#claimable(key)) return await this.inner.put(key, bytes, options);
    checkKey(key);
    options.signal?.throwIfAborted();
    if ((await this.inner.head(key, options)) !== undefined) throw new DriverError('exists', `${key} exists`);
    const { won, stat } = await this.#decide(key, bytes, unconditional);
    if (!won) throw new DriverError('exists', `${key} exists`);
    // Where somebody deleted it again before it could be written: what it would have been.
    return stat ?? { size: bytes.length, modifiedMs: await clockOf(this.inner), stamp: randomUUID() };
  }

  override async claim(key: string, value: Uint8Array, options: CallOptions = {}): Promise<Claimed> {
    checkKey(key);
    options.signal?.throwIfAborted();
    if (!this.#claimable(key)) throw new DriverError('permanent', `${key} cannot be claimed: the keys of claims are known beforehand`);
    // What stands in the store was decided, be it before there was a database.
    const held = await this.inner.get(key, options);
    if (held !== undefined) return { won: false, value: held.bytes };
    const { won, decided } = await this.#decide(key, value, options);
    return { won, value: decided };
  }

  /** Both while the rows are held: nobody claims a key anew in between, to have its object deleted. */
  override async delete(keys: readonly string[], options: CallOptions = {}): Promise<void> {
    for (const key of keys) checkKey(key);
    options.signal?.throwIfAborted();
    const claimable = keys.filter((key) => this.#claimable(key));
    if (claimable.length === 0) return await this.inner.delete(keys, options);
    const doing = `delete ${claimable.length === 1 ? claimable[0] : `${claimable.length} keys`}`;
    await this.#database.transaction(
      doing,
      async (connection) => {
        await connection.query(FORGET, [this.#store, claimable]);
        await whileHeld({ doing, timers: this.#timers, ...options }, async (signal) => await this.inner.delete(keys, { ...options, signal }));
      },
      options.signal,
    );
  }

  override async close(): Promise<void> {
    await this.#database.close();
    await this.inner.close();
  }

  /** Decides by a row, and sees to it that what was decided stands in the store. */
  async #decide(key: string, value: Uint8Array, options: PutOptions): Promise<Outcome> {
    if (value.length > MAX_VALUE_BYTES) {
      throw new DriverError('permanent', `the value for ${key} has ${value.length} bytes, a claim ${MAX_VALUE_BYTES} at most`);
    }
    const bytes = Buffer.from(value);
    const nonce = randomUUID();
    const { signal } = options;
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const deciding = (connection: Connection): Promise<readonly Decided[]> =>
        connection.query<{ value: Buffer; nonce: string }>(DECIDE, [this.#store, key, bytes, nonce]);
      const [row] = await this.#database.run(`claim ${key}`, deciding, signal);
      if (row === undefined) continue;
      const won = row.nonce === nonce;
      const written = await this.#write(key, row, won, options);
      if (written !== 'gone' || won) return { won, decided: row.value, stat: written === 'gone' ? undefined : written };
    }
    throw new DriverError('retryable', `${key} was claimed and deleted ${MAX_ROUNDS} times while it was claimed here`);
  }

  /**
   * Writes what was decided to the store, unless another did, while the row is held: nobody deletes the key meanwhile, to
   * find it there again. `gone`: somebody deleted it before.
   */
  async #write(key: string, { value, nonce }: Decided, won: boolean, options: PutOptions): Promise<Stat | 'gone' | undefined> {
    return await this.#database.transaction(
      `claim ${key}`,
      async (connection) => {
        const [row] = await connection.query<{ nonce: string }>(HOLD, [this.#store, key]);
        if (row?.nonce !== nonce) return 'gone';
        return await whileHeld({ doing: `claim ${key}`, timers: this.#timers, ...options }, async (signal) =>
          won || (await this.inner.head(key, { signal })) === undefined ? await this.inner.put(key, value, { ...options, signal }) : undefined,
        );
      },
      options.signal,
    );
  }
}

/** @throws what `work` does when its signal ends it: DriverError retryable where that was for the time it took */
async function whileHeld<T>({ doing, timers, signal }: CallOptions & { readonly doing: string; readonly timers: Timers }, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const limit = new AbortController();
  const cancel = timers.after(HELD_MS, () => limit.abort(new DriverError('retryable', `cannot ${doing}: the store took more than ${HELD_MS / 1000} s while the database held the row`)));
  try {
    return await work(signal === undefined ? limit.signal : AbortSignal.any([signal, limit.signal]));
  } finally {
    cancel();
  }
}

async function clockOf(driver: Driver): Promise<number> {
  return driver.clock === undefined ? Date.now() : await driver.clock();
}
