/** Lists: how many, from where, in which order, which of them and which of their fields, as clients ask for it in a query. */
import { sql, type RawBuilder, type SqlBool } from 'kysely';
import { readBoolean } from './field.ts';
import { ApiProblem, shown } from './problem.ts';
import { mustKnowAll } from './query.ts';

/** A column that can be sorted by; `id` breaks ties. */
export interface SortKey {
  readonly column: RawBuilder<unknown>;
}

export interface Filter {
  readonly column: RawBuilder<unknown>;
  readonly kind: 'text' | 'flag';
}

export interface ListKinds {
  readonly sortKeys: Readonly<Record<string, SortKey>>;
  readonly filters: Readonly<Record<string, Filter>>;
  /** All that may be asked for with `fields`. */
  readonly fields: ReadonlySet<string>;
}

export interface ListRequest {
  readonly limit: number;
  readonly sortKey: string;
  readonly sort: SortKey;
  readonly sortDir: 'asc' | 'desc';
  /** A UUID. */
  readonly marker: string | undefined;
  readonly filters: readonly RawBuilder<SqlBool>[];
  /** Undefined: as the list has them. */
  readonly fields: ReadonlySet<string> | undefined;
  /** What the next page is asked for with, besides its marker. */
  readonly again: URLSearchParams;
}

/** As Magnum's `[api]max_limit`. */
const MAX_LIMIT = 1_000;

/** @throws ApiProblem naming the word of the query */
export function readList(query: URLSearchParams, { sortKeys, filters, fields }: ListKinds): ListRequest {
  mustKnowAll(query, ['limit', 'marker', 'sort_key', 'sort_dir', 'fields', ...Object.keys(filters)]);
  const limit = readLimit(query.get('limit'));
  const sortDir = query.get('sort_dir') ?? 'asc';
  if (sortDir !== 'asc' && sortDir !== 'desc') throw new ApiProblem('invalid', `Invalid sort direction: ${shown(sortDir)}. Acceptable values are 'asc' or 'desc'`);
  const sortKey = query.get('sort_key') ?? 'id';
  const sort = Object.hasOwn(sortKeys, sortKey) ? sortKeys[sortKey] : undefined;
  if (sort === undefined) throw new ApiProblem('invalid', `The sort_key value "${shown(sortKey)}" is an invalid field for sorting; expected one of ${Object.keys(sortKeys).join(', ')}`);
  const wanted = query.get('fields')?.split(',').map((name) => name.trim());
  const strange = wanted?.find((name) => !fields.has(name));
  if (strange !== undefined) throw new ApiProblem('invalid', `Unknown field: ${shown(strange)}`);
  const again = new URLSearchParams([...query].filter(([name]) => name !== 'marker' && name !== 'limit'));
  again.set('limit', String(limit));
  return {
    limit, sortKey, sort, sortDir,
    marker: query.get('marker') ?? undefined,
    filters: Object.entries(filters).flatMap(([name, filter]) => {
      const value = query.get(name);
      return value === null ? [] : [condition(name, filter, value)];
    }),
    fields: wanted && new Set(wanted),
    again,
  };
}

function readLimit(text: string | null): number {
  if (text === null) return MAX_LIMIT;
  if (!/^-?\d{1,10}$/.test(text)) throw new ApiProblem('invalid', `Invalid input for field/attribute limit. Value: '${shown(text)}'. unable to convert to int`);
  if (Number(text) <= 0) throw new ApiProblem('invalid', 'Limit must be positive');
  return Math.min(Number(text), MAX_LIMIT);
}

function condition(name: string, { column, kind }: Filter, value: string): RawBuilder<SqlBool> {
  if (kind === 'text') return sql<SqlBool>`${column} = ${value}`;
  const flag = readBoolean(value);
  if (flag === undefined) throw new ApiProblem('invalid', `Invalid input for field/attribute ${name}. Value: '${shown(value)}'. Expected true or false`);
  return sql<SqlBool>`${column} = ${flag ? 1 : 0}`;
}

/** What comes after the marker. @param marker its own value in the column, and its id */
export function after({ sort, sortDir }: ListRequest, marker: { readonly value: unknown; readonly id: number }): RawBuilder<SqlBool> {
  return sortDir === 'asc' ? sql<SqlBool>`(${sort.column}, id) > (${marker.value}, ${marker.id})` : sql<SqlBool>`(${sort.column}, id) < (${marker.value}, ${marker.id})`;
}

/** @param rows one more than the limit, where there are so many */
export function pageOf<Row extends { readonly uuid: string }>({ limit, again }: ListRequest, rows: readonly Row[], url: string): { readonly rows: readonly Row[]; readonly next: string | undefined } {
  const shownRows = rows.slice(0, limit);
  const last = shownRows.at(-1);
  if (rows.length <= limit || last === undefined) return { rows: shownRows, next: undefined };
  const query = new URLSearchParams(again);
  query.set('marker', last.uuid);
  return { rows: shownRows, next: `${url}?${query.toString()}` };
}

/** With the fields that were asked for; links always. */
export function picked(document: Readonly<Record<string, unknown>>, { fields }: Pick<ListRequest, 'fields'>): Readonly<Record<string, unknown>> {
  return fields === undefined ? document : Object.fromEntries(Object.entries(document).filter(([name]) => fields.has(name) || name === 'links'));
}
