/** Words of a query: one that is not known is a mistake, and told. */
import { ApiProblem, shown } from './problem.ts';

/** @throws ApiProblem naming the first that is not among them */
export function mustKnowAll(query: URLSearchParams, known: readonly string[]): void {
  const unknown = [...query.keys()].find((name) => !known.includes(name));
  if (unknown !== undefined) throw new ApiProblem('invalid', `Unknown argument: "${shown(unknown)}"; expected ${known.length === 0 ? 'none' : `one of ${known.join(', ')}`}`);
}
