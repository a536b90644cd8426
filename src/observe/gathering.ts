/** The metrics of all workers, whichever of them is asked: it asks the others, and each tells all. */
import type { Group } from '../workers/group.ts';
import type { Exposition, MetricSnapshot } from './exposition.ts';

const ASK = 'metrics-ask';
const TELL = 'metrics-tell';

interface Question {
  readonly asker: number;
  readonly number: number;
}

interface Told extends Question {
  readonly snapshot: readonly MetricSnapshot[];
}

/** Returns what renders the text. A worker that does not answer within a second is left out. */
export function gatherMetrics(group: Group, exposition: Exposition): () => Promise<string> {
  const answers = new Map<number, (readonly MetricSnapshot[])[]>();
  let asked = 0;
  // Messages are ours, from the same version: their shape is known.
  group.subscribe(ASK, async (message) => {
    const question = message as Question;
    // Waiting until it was handled means that the asker has it before it sees its own question done.
    await group.broadcast(TELL, { ...question, snapshot: exposition.snapshot() } satisfies Told);
  });
  group.subscribe(TELL, (message) => {
    const { asker, number, snapshot } = message as Told;
    if (asker === group.id) answers.get(number)?.push(snapshot);
  });
  return async () => {
    const number = ++asked;
    const others: (readonly MetricSnapshot[])[] = [];
    answers.set(number, others);
    await group.broadcast(ASK, { asker: group.id, number } satisfies Question);
    answers.delete(number);
    return exposition.render(others);
  };
}
