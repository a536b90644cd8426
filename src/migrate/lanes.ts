/**
 * Bounded concurrency over what is still being listed: at most `limit` of `work` under way, and no more than that taken
 * from the list. Rejects with the first failure once all have ended.
 */
export async function eachFrom<T>(items: AsyncIterable<T>, limit: number, work: (item: T) => Promise<void>): Promise<void> {
  const iterator = items[Symbol.asyncIterator]();
  let failed: { readonly error: unknown } | undefined;
  let listed = false;
  let turn: Promise<unknown> = Promise.resolve();
  /** One lane at a time: not every iterator takes a call before the last one was answered. */
  const take = (): Promise<IteratorResult<T>> => {
    const next = turn.then(() => (listed || failed !== undefined ? { done: true as const, value: undefined } : iterator.next()));
    turn = next.catch(() => undefined);
    return next;
  };
  const lane = async (): Promise<void> => {
    try {
      for (let next = await take(); next.done !== true; next = await take()) await work(next.value);
      listed = true;
    } catch (error) {
      failed ??= { error };
    }
  };
  await Promise.all(Array.from({ length: limit }, lane));
  if (failed === undefined) return;
  await iterator.return?.();
  throw failed.error;
}
