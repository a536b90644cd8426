/**
 * Work that comes in a rush, done together: what arrives while a batch runs makes the next one. A thousand nodes that
 * start at once then cost some twenty transactions, which wait for the disk once each, and never more than one connection.
 */
export interface Batches<Input, Output> {
  /** Settles as the batch says of this one; rejects with the batch's error where all of it failed. */
  add(input: Input): Promise<Output>;
}

/** What became of one of a batch. */
export type Outcome<Output> = { readonly value: Output } | { readonly refusal: Error };

/** @param run gives an outcome for each input, in order */
export function batches<Input, Output>(most: number, run: (inputs: readonly Input[]) => Promise<readonly Outcome<Output>[]>): Batches<Input, Output> {
  interface Waiting {
    readonly input: Input;
    readonly resolve: (output: Output) => void;
    readonly reject: (reason: unknown) => void;
  }
  const waiting: Waiting[] = [];
  let running = false;

  async function runAll(): Promise<void> {
    running = true;
    while (waiting.length > 0) {
      const batch = waiting.splice(0, most);
      try {
        const outcomes = await run(batch.map(({ input }) => input));
        for (const [i, { resolve, reject }] of batch.entries()) {
          const outcome = outcomes[i];
          if (outcome === undefined) reject(new Error('the batch said nothing of this'));
          else if ('value' in outcome) resolve(outcome.value);
          else reject(outcome.refusal);
        }
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    running = false;
  }

  return {
    async add(input) {
      const { promise, resolve, reject } = Promise.withResolvers<Output>();
      waiting.push({ input, resolve, reject });
      if (!running) void runAll();
      return await promise;
    },
  };
}
