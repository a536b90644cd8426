/** Reads an S3 bucket that another registry wrote. It is neither made nor written, so the right to read is enough. */
import { attempts } from '../drivers/object-store/attempts.ts';
import { s3Name, S3Calls } from '../drivers/s3/client.ts';
import { listLevel } from '../drivers/s3/listing.ts';
import { S3Objects } from '../drivers/s3/objects.ts';
import { S3Source } from '../drivers/s3/source.ts';
import type { S3Storage } from '../config/config.ts';
import type { ReadableStore } from './source-store.ts';
import type { ObjectSourceDeps } from './swift-source.ts';

export function s3Source({ bucket, endpoint, region, credentials, pathStyle, ca, insecure }: S3Storage, { nowMs, timers, report }: ObjectSourceDeps): ReadableStore {
  const store = s3Name({ endpoint, region });
  const calls = new S3Calls({ attempts: attempts({ nowMs, timers, store, report, random: Math.random }), bucket, store, endpoint, region, credentials, pathStyle, ca, insecure });
  const objects = new S3Objects({ calls, root: '', newId: nothingIsWritten, conditions: false, etagIsMd5: false });
  return {
    head: (key, options) => objects.head(key, options),
    get: (key, options) => objects.get(key, options),

    async open(key, options) {
      const opened = await objects.open(key, options);
      return opened === undefined ? undefined : new S3Source({ calls, timers, name: key, ...opened, pieces: [{ key, size: opened.stat.size, etag: opened.stat.stamp }] });
    },

    children: (level, options = {}) => listLevel(calls, '', level, options),

    foreign: async (key, size) => ({ store, container: bucket, name: key, size }),

    close: async () => calls.close(),
  };
}

function nothingIsWritten(): string {
  throw new Error('a source is only read from');
}
