/**
 * Listings of an S3 bucket as the contract wants them: keys in byte order, levels in the order of their components, and
 * nothing of what the driver keeps for itself.
 */
import { ListObjectsV2Command, type ListObjectsV2CommandInput, type ListObjectsV2CommandOutput } from '@aws-sdk/client-s3';
import { DriverError, type CallOptions, type Entry } from '../driver.ts';
import { inOwnOrder, type Component } from '../object-store/level-order.ts';
import type { S3Calls } from './client.ts';
import { BEHIND_INTERNAL } from './keys.ts';
import { s3Stat } from './stat.ts';

export interface ListingOptions extends CallOptions {
  readonly startAfter?: string;
}

/** Keys under `root`, which begin with `prefix` behind it; internal ones only where the prefix is internal. */
export async function* listKeys(calls: S3Calls, root: string, prefix: string, { startAfter = '', signal }: ListingOptions): AsyncGenerator<Entry> {
  for await (const page of pages(calls, { Prefix: root + prefix, ...beginning(root, prefix, startAfter) }, signal)) {
    for (const { Key, Size, LastModified, ETag } of page.Contents ?? []) {
      // A key that ends in `/` is a console's idea of a folder.
      if (Key === undefined || Key.endsWith('/')) continue;
      yield { key: Key.slice(root.length), ...s3Stat(Size, LastModified, ETag) };
      signal?.throwIfAborted();
    }
  }
}

/** The components that follow `prefix`, which is empty or ends in `/`. */
export async function* listLevel(calls: S3Calls, root: string, prefix: string, { startAfter = '', signal }: ListingOptions): AsyncGenerator<Component> {
  const exists = async (name: string): Promise<boolean> => {
    const input = { Bucket: calls.bucket, Prefix: `${root}${prefix}${name}/`, MaxKeys: 1 };
    const page = await calls.run(`list ${prefix}${name}/`, (client, http) => client.send(new ListObjectsV2Command(input), http), { signal });
    return (page.Contents ?? []).length > 0;
  };
  for await (const component of inOwnOrder(componentsOf(calls, root, prefix, startAfter, signal), exists)) {
    if (component.name > startAfter) yield component;
    signal?.throwIfAborted();
  }
}

async function* componentsOf(calls: S3Calls, root: string, prefix: string, startAfter: string, signal: AbortSignal | undefined): AsyncGenerator<Component> {
  // A component behind `startAfter` has no key before it.
  const begin = beginning(root, prefix, startAfter === '' ? '' : prefix + startAfter);
  for await (const page of pages(calls, { Prefix: root + prefix, Delimiter: '/', ...begin }, signal)) {
    const leaves = (page.Contents ?? []).map(({ Key = '' }) => Key.slice(root.length + prefix.length));
    const folders = (page.CommonPrefixes ?? []).map(({ Prefix = '' }) => Prefix.slice(root.length + prefix.length));
    for (const name of [...leaves, ...folders].toSorted()) {
      if (name.endsWith('/')) yield { name: name.slice(0, -1), leaf: false };
      else if (name !== '') yield { name, leaf: true };
    }
  }
}

function beginning(root: string, prefix: string, startAfter: string): { readonly StartAfter?: string } {
  const after = prefix === '' && startAfter < BEHIND_INTERNAL ? BEHIND_INTERNAL : startAfter;
  // Some stores take one that lies before the prefix for an order to list nothing.
  return after === '' || after < prefix ? {} : { StartAfter: root + after };
}

async function* pages(calls: S3Calls, input: Omit<ListObjectsV2CommandInput, 'Bucket'>, signal: AbortSignal | undefined): AsyncGenerator<ListObjectsV2CommandOutput> {
  let token: string | undefined;
  do {
    signal?.throwIfAborted();
    const asked: ListObjectsV2CommandInput = { Bucket: calls.bucket, ...input, ...(token === undefined ? {} : { ContinuationToken: token }) };
    const page: ListObjectsV2CommandOutput = await calls.run(`list ${input.Prefix}`, (client, http) => client.send(new ListObjectsV2Command(asked), http), { signal });
    yield page;
    const next = page.IsTruncated === true ? page.NextContinuationToken : undefined;
    if (next !== undefined && next === token) throw new DriverError('permanent', `list ${input.Prefix}: ${calls.store} gives the same page again`);
    token = next;
  } while (token !== undefined);
  signal?.throwIfAborted();
}
