/**
 * Tags that are too old, without a write for each: a view has one mark, and a tag that was written before it is as good
 * as deleted. A tag that is pushed while the mark is set is never lost, since nothing is written where it stands. Its
 * manifests lose a tag by it and nothing more.
 */
import type { Driver } from '../drivers/driver.ts';
import type { Name } from '../oci/name.ts';
import type { CachedRecords } from './cached.ts';
import { keys, type ViewUid } from './keys.ts';
import type { ExpiredRecord } from './records.ts';

export interface Expiry {
  /** Tags of the view that were written before this do not hold; 0: all do. At once where memory has it. */
  beforeMs(view: ViewUid): number | Promise<number>;
  /** What is `ageMs` old by the store's clock, in milliseconds since the epoch. */
  cutoffMs(ageMs: number): Promise<number>;
  /** Sets the mark, for good; durable. A lower one than there is changes nothing. Two at once: the last one counts. */
  expire(view: ViewUid, beforeMs: number): Promise<void>;
  /** The names in which the view has tags, or had. */
  names(view: ViewUid): AsyncIterable<Name>;
}

export function expiry(driver: Driver, records: CachedRecords<ExpiredRecord>, nowMs: () => number): Expiry {
  async function* below(prefix: string, path: string): AsyncGenerator<Name> {
    for await (const { name, leaf } of driver.children(`${prefix}${path}`)) {
      if (leaf) continue;
      if (name === TAGS && path !== '') yield path.slice(0, -1) as Name; // keys hold names
      if (!name.startsWith('_')) yield* below(prefix, `${path}${name}/`);
    }
  }

  return {
    beforeMs(view) {
      const record = records.read(keys.expired(view));
      return record instanceof Promise ? record.then(markOf) : markOf(record);
    },
    cutoffMs: async (ageMs) => ((await driver.clock?.()) ?? nowMs()) - ageMs,
    async expire(view, beforeMs) {
      const key = keys.expired(view);
      if (markOf(await records.readFresh(key)) < beforeMs) await records.write(key, { beforeMs }, 'now');
    },
    names: (view) => below(keys.repositories(view), ''),
  };
}

const TAGS = '_tags';

function markOf(record: ExpiredRecord | undefined): number {
  return record?.beforeMs ?? 0;
}
