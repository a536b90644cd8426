/** What templates and clusters have in common: reading a body by its fields, patching by RFC 6902 as far as Magnum goes, times. */
import type { Field, Value } from './field.ts';
import { ApiProblem, fieldProblem, shown } from './problem.ts';
import { pythonDictionary } from './python-literal.ts';

/** By field; complete: null where nothing is. */
export type Values = Readonly<Record<string, Value>>;

/** A body of a POST. @throws ApiProblem naming the field */
export function readBody(body: unknown, fields: readonly Field[], readOnly: ReadonlySet<string>): Values {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) throw new ApiProblem('invalid', 'Invalid input: expected a JSON object');
  const given = body as Readonly<Record<string, unknown>>; // an object, and no list
  for (const key of Object.keys(given)) {
    if (readOnly.has(key) && given[key] !== null) throw fieldProblem(key, given[key], 'Cannot set read only field.');
    if (!readOnly.has(key) && !fields.some(({ name }) => name === key)) throw new ApiProblem('invalid', `Unknown attribute: ${shown(key)}`);
  }
  return readValues(given, fields);
}

/** @throws ApiProblem naming the field */
export function readValues(given: Readonly<Record<string, unknown>>, fields: readonly Field[]): Values {
  return Object.fromEntries(
    fields.map(({ name, type, fallback = null, mandatory = false }) => {
      const value = Object.hasOwn(given, name) ? given[name] : undefined;
      if (value === undefined || value === null) {
        if (mandatory) throw fieldProblem(name, 'None', 'Mandatory field missing.');
        return [name, fallback];
      }
      const read = type.read(value);
      if ('problem' in read) throw fieldProblem(name, value, read.problem);
      return [name, read.value];
    }),
  );
}

const OPERATIONS = ['add', 'replace', 'remove'] as const;
const PATH = /^(?:\/[\w.-]+)+$/;
const MAX_OPERATIONS = 100;

interface Operation {
  readonly op: (typeof OPERATIONS)[number];
  /** Without the first slash. */
  readonly path: readonly string[];
  readonly value: unknown;
}

export interface Patchable {
  readonly fields: readonly Field[];
  /** Names of attributes that nobody may touch, whether they are ever shown or not. */
  readonly internal: ReadonlySet<string>;
}

/**
 * The values with the patch applied, checked anew as a whole.
 * @throws ApiProblem, with Magnum's words for what is internal or mandatory
 */
export function patched(values: Values, patch: unknown, { fields, internal }: Patchable): Values {
  if (!Array.isArray(patch) || patch.length > MAX_OPERATIONS) throw new ApiProblem('invalid', `Invalid input: expected a list of at most ${MAX_OPERATIONS} operations (RFC 6902)`);
  const document: Record<string, unknown> = { ...values };
  for (const given of patch as readonly unknown[]) apply(document, operationOf(given), fields, internal);
  return readValues(document, fields);
}

function operationOf(given: unknown): Operation {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) throw new ApiProblem('invalid', 'Invalid input: expected an operation with op, path and value');
  const { op, path, value, ...more } = given as Readonly<Record<string, unknown>>; // an object, and no list
  const [unknown] = Object.keys(more);
  if (unknown !== undefined) throw new ApiProblem('invalid', `Unknown attribute: ${shown(unknown)}`);
  const known = OPERATIONS.find((word) => word === op);
  if (known === undefined) throw fieldProblem('op', op ?? 'None', `Value should be one of: ${OPERATIONS.map((word) => `'${word}'`).join(', ')}`);
  if (typeof path !== 'string' || !PATH.test(path)) throw fieldProblem('path', path ?? 'None', 'Value should be a path such as /labels/registry_port');
  return { op: known, path: path.slice(1).split('/'), value };
}

function apply(document: Record<string, unknown>, { op, path, value }: Operation, fields: readonly Field[], internal: ReadonlySet<string>): void {
  const [name = '', key, ...deeper] = path;
  const spelled = `/${path.join('/')}`;
  if (internal.has(name)) throw new ApiProblem('invalid', `'${spelled}' is an internal attribute and can not be updated`);
  const field = fields.find((other) => other.name === name);
  if (field === undefined) throw new ApiProblem('invalid', op === 'add' ? `Adding a new attribute ${spelled} to the root of the resource is not allowed.` : `Couldn't apply patch: there is no attribute ${spelled}`);
  if (op !== 'remove' && (value === undefined || value === null)) throw new ApiProblem('invalid', `'add' and 'replace' operations needs value: ${spelled}`);
  if (key === undefined) {
    if (op === 'remove') {
      if (field.mandatory === true || field.kept === true) throw new ApiProblem('invalid', `'${spelled}' is a mandatory attribute and can not be removed`);
      document[name] = null;
      return;
    }
    const held = document[name];
    const isEmpty = held === null || (typeof held === 'object' && Object.keys(held).length === 0);
    if (op === 'add' && !isEmpty) throw new ApiProblem('invalid', `The attribute ${spelled} has existed, please use 'replace' operation instead.`);
    // Clients of some versions send labels as Python writes a dictionary.
    document[name] = name === 'labels' && typeof value === 'string' ? (pythonDictionary(value) ?? value) : value;
    return;
  }
  if (name !== 'labels' || deeper.length > 0) throw new ApiProblem('invalid', `Couldn't apply patch: ${spelled} is no path of this resource`);
  const held = document['labels'] ?? {};
  if (typeof held !== 'object' || Array.isArray(held)) return; // what an operation before put there is refused as a whole
  const { [key]: _, ...others } = held as Readonly<Record<string, unknown>>; // an object, and no list
  if (op !== 'add' && !Object.hasOwn(held, key)) throw new ApiProblem('invalid', `Couldn't apply patch: there is no label ${shown(key)}`);
  document['labels'] = op === 'remove' ? others : { ...others, [key]: value };
}

/** As Magnum writes times. */
export function timestamp(ms: number | null): string | null {
  return ms === null ? null : `${new Date(ms).toISOString().slice(0, 19)}+00:00`;
}
