/** What is wrong with a request, and how that is answered: the one table of statuses, and the body that Magnum's clients read. */

const STATUS = {
  invalid: 400,
  unauthorized: 401,
  forbidden: 403,
  'not found': 404,
  'method not allowed': 405,
  'not acceptable': 406,
  conflict: 409,
  gone: 410,
  'too large': 413,
  'unsupported media type': 415,
  'too many': 429,
  internal: 500,
  unavailable: 503,
} as const;
export type ProblemKind = keyof typeof STATUS;

export interface ProblemOptions {
  readonly cause?: unknown;
  /** Name, value, …. */
  readonly headers?: readonly string[];
  /** Further words of the error in the body. */
  readonly also?: Readonly<Record<string, unknown>>;
}

/** Thrown for what a client is told. The message is a whole sentence, and names the field or object that it is about. */
export class ApiProblem extends Error {
  override readonly name = 'ApiProblem';
  readonly kind: ProblemKind;
  readonly headers: readonly string[];
  readonly also: Readonly<Record<string, unknown>>;

  constructor(kind: ProblemKind, message: string, { cause, headers = [], also = {} }: ProblemOptions = {}) {
    super(message, { cause });
    this.kind = kind;
    this.headers = headers;
    this.also = also;
  }

  get status(): number {
    return STATUS[this.kind];
  }
}

export const FIELD_PROBLEM = 'Invalid input for field/attribute';

/** As wsme says it, by which Magnum's fields are checked. */
export function fieldProblem(field: string, value: unknown, why: string): ApiProblem {
  return new ApiProblem('invalid', `${FIELD_PROBLEM} ${field}. Value: '${shown(value)}'. ${why}`);
}

const MAX_SHOWN = 100;

/** What a client sent, for a message: short, on one line. */
export function shown(value: unknown): string {
  const text = (typeof value === 'string' ? value : (JSON.stringify(value) ?? String(value))).replace(/\p{Cc}+/gu, ' ');
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text;
}

/** https://specs.openstack.org/openstack/api-sig/guidelines/errors.html; clients show the title. */
export function problemBody({ status, message, also }: ApiProblem, requestId: string): object {
  const title = /^.*?[^.](?=\. |\.?$)/s.exec(message)?.[0] ?? message;
  return { errors: [{ request_id: requestId, code: status < 500 ? 'client' : 'server', status, title: title.startsWith(FIELD_PROBLEM) ? message : title, detail: message, links: [], ...also }] };
}
