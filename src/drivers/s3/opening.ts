/**
 * What is found out about an S3 store before it is used: is the bucket there and ours to write, are its ETags MD5s, and
 * are its conditional puts a lock. The last is raced against itself (PROTOCOL "Claims"): Swift's s3api answers 501 or
 * lets several through, other look-alikes take no notice of the condition at all.
 */
import { CreateBucketCommand, DeleteObjectCommand, HeadBucketCommand, HeadObjectCommand, PutObjectCommand, type CreateBucketCommandInput } from '@aws-sdk/client-s3';
import { createHash } from 'node:crypto';
import { DriverError, isDriverError, type CallOptions } from '../driver.ts';
import type { S3Calls } from './client.ts';
import { codeOf, isConditionFailure, isNotImplemented, statusOf } from './errors.ts';
import { PROBES } from './keys.ts';
import { unquoted } from './stat.ts';

export interface S3Findings {
  /** Of many conditional puts at once one succeeds. */
  readonly conditions: boolean;
  /** Why not, in words. */
  readonly because: string;
  readonly etagIsMd5: boolean;
}

export interface OpeningOptions {
  readonly calls: S3Calls;
  readonly root: string;
  readonly region: string;
  /** Not AWS itself. */
  readonly lookAlike: boolean;
  readonly newId: () => string;
}

const ROUNDS = 3;
const RACERS = 8;

/** @throws DriverError, which names the bucket, where it is not there or not ours */
export async function makeBucket({ calls, region, lookAlike }: OpeningOptions): Promise<void> {
  const bucket = { Bucket: calls.bucket };
  const found = await calls.find(`look for bucket ${calls.bucket}`, async (client, http) => {
    try {
      return await client.send(new HeadBucketCommand(bucket), http);
    } catch (error) {
      // A HEAD has no body that could tell more; what is wrong shows when the bucket is written.
      if (statusOf(error) === 403) return {};
      throw error;
    }
  });
  if (found !== undefined) return;
  const input: CreateBucketCommandInput = { ...bucket };
  // A type of AWS's regions, which grow in number; look-alikes know no region but their own.
  if (!lookAlike && region !== 'us-east-1') input.CreateBucketConfiguration = { LocationConstraint: region as NonNullable<NonNullable<CreateBucketCommandInput['CreateBucketConfiguration']>['LocationConstraint']> };
  await calls.run(`create bucket ${calls.bucket}`, async (client, http) => {
    try {
      await client.send(new CreateBucketCommand(input), http);
    } catch (error) {
      if (codeOf(error) === 'BucketAlreadyOwnedByYou') return;
      if (statusOf(error) === 403) throw new DriverError('permanent', `there is no bucket ${calls.bucket} at ${calls.store}, and these credentials may not create it (${codeOf(error)}); create it for them`, { cause: error });
      throw error;
    }
  });
}

/**
 * Writes an object, looks at it and removes it.
 * @returns whether its ETag is its MD5: of an encrypted bucket it may not be
 */
export async function probe({ calls, root, newId }: Pick<OpeningOptions, 'calls' | 'root' | 'newId'>, { signal }: CallOptions = {}): Promise<boolean> {
  const at = { Bucket: calls.bucket, Key: `${root}${PROBES}${newId()}` };
  const Body = Buffer.from('umbra');
  const md5 = createHash('md5').update(Body).digest();
  const naming = (error: unknown): never => {
    if (!isDriverError(error, 'permanent')) throw error;
    throw new DriverError('permanent', `bucket ${calls.bucket} cannot be used: ${error.message}`, { cause: error, mayNotWrite: error.mayNotWrite });
  };
  const put = await calls.run('write a probe', (client, http) => client.send(new PutObjectCommand({ ...at, Body, ContentMD5: md5.toString('base64') }), http), { signal }).catch(naming);
  const found = await calls.find('look for the probe', (client, http) => client.send(new HeadObjectCommand(at), http), { signal }).catch(naming);
  await calls.run('delete the probe', (client, http) => client.send(new DeleteObjectCommand(at), http), { signal }).catch(naming);
  if (found?.ContentLength !== Body.length) throw new DriverError('retryable', `bucket ${calls.bucket}: a probe that was just written cannot be found`);
  return unquoted(put.ETag) === md5.toString('hex');
}

/** @param configured `settle` is believed; of `strict` it is tried at least that the store knows conditional puts; undefined: raced */
export async function findOut(options: OpeningOptions, configured: 'strict' | 'settle' | undefined): Promise<S3Findings> {
  const etagIsMd5 = await probe(options);
  if (configured === 'settle') return { conditions: false, because: 'the configuration says so', etagIsMd5 };
  const [rounds, racers] = configured === 'strict' ? [1, 1] : [ROUNDS, RACERS];
  for (let round = 0; round < rounds; round++) {
    const because = await race(options, racers);
    if (because !== undefined) return { conditions: false, because, etagIsMd5 };
  }
  return { conditions: true, because: '', etagIsMd5 };
}

/** Why these conditional puts are no lock: many at once, and then one against what stands there. */
async function race({ calls, root, newId }: OpeningOptions, racers: number): Promise<string | undefined> {
  const at = { Bucket: calls.bucket, Key: `${root}${PROBES}${newId()}` };
  const putAbsent = (what: string): Promise<'won' | 'lost' | 'refused'> =>
    calls.run(`${what} for a claim`, async (client, http) => {
      try {
        await client.send(new PutObjectCommand({ ...at, Body: newId(), IfNoneMatch: '*' }), http);
        return 'won';
      } catch (error) {
        if (isConditionFailure(error)) return 'lost';
        if (isNotImplemented(error)) return 'refused';
        throw error;
      }
    });
  try {
    const outcomes = await Promise.all(Array.from({ length: racers }, () => putAbsent('race')));
    if (outcomes.includes('refused')) return 'it does not know conditional puts (501)';
    const winners = outcomes.filter((outcome) => outcome === 'won').length;
    if (winners > 1) return `of ${racers} conditional puts at once ${winners} succeeded`;
    // One that is repeated after its answer was lost may find itself: no winner proves nothing.
    return (await putAbsent('come late')) === 'won' ? 'a conditional put replaced what stood there' : undefined;
  } finally {
    await calls.run('delete the probe', (client, http) => client.send(new DeleteObjectCommand(at), http)).catch(() => undefined);
  }
}
