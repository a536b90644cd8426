/** What the benchmark is made of: sections that share servers, and in each rows that compare contenders by one number. */
import type { Bench } from './bench.ts';

/** `limit` is what the row is held against beside docker-registry: nginx, openssl, the upstream or the store without anything between. */
export type Contender = 'umbra' | 'docker-registry' | 'limit';
export const CONTENDERS: readonly Contender[] = ['umbra', 'docker-registry', 'limit'];

export type Unit = 'req/s' | 'push/s' | 'pull/s' | 'node/s' | 'MiB/s' | 's' | 'ms' | 'MiB';

export type Goal =
  /** At least so many times the other's figure. */
  | { readonly kind: 'at-least'; readonly times: number; readonly of: Exclude<Contender, 'umbra'> }
  | { readonly kind: 'at-most'; readonly times: number; readonly of: Exclude<Contender, 'umbra'> }
  /** At most so much, in the row's unit. */
  | { readonly kind: 'bound'; readonly value: number }
  /** At least so much. */
  | { readonly kind: 'floor'; readonly value: number };

export interface Sample {
  readonly value: number;
  /** How often the upstream was asked for the layer; the goal is once. */
  readonly downloads?: number;
}

export interface Row<State> {
  readonly name: string;
  readonly unit: Unit;
  /** What stands in the limit column, e.g. `nginx`. */
  readonly limit?: string;
  readonly goal?: Goal;
  /** Rounds for this row where the usual number would take too long. */
  readonly rounds?: number;
  /** Those that the row has a figure of. */
  readonly contenders: readonly Contender[];
  measure(state: State, contender: Contender, round: number): Promise<Sample | number>;
}

export interface Section<State> {
  readonly title: string;
  readonly rows: readonly Row<State>[];
  open(bench: Bench): Promise<State>;
  close(state: State): Promise<void>;
}
