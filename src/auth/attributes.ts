/**
 * What another service says of somebody (claims of a token; project and roles), held against rules that name some of it.
 * Fits are grants, which go with the login.
 */
import type { AttributeRuleConfig } from '../config/config.ts';
import { parseViewId } from '../oci/name.ts';
import { compilePattern } from './pattern.ts';
import { compileGrant, type Grant } from './rules.ts';

/** The values of an attribute as text; none where it is absent. */
export type Attributes = (name: string) => readonly string[];

export interface Fit {
  /** Of the rules that fit. */
  readonly grants: readonly Grant[];
  /** Of each rule that does not fit: its place among them, and the first attribute that is another. */
  readonly misfits: readonly { readonly rule: number; readonly attribute: string }[];
}

export type AttributeRules = (attributes: Attributes) => Fit;

const PLACE = /\{([^{}]+)\}/;
/** Views that no value may spell. */
const RESERVED: ReadonlySet<string> = new Set(['main', 'approved', 'upstream']);

/** @param key of the rules, for messages. @throws Error naming the rule and what was expected, where one could never apply */
export function compileAttributeRules(rules: readonly AttributeRuleConfig[], key: string): AttributeRules {
  const compiled = rules.map((rule, index) => compile(rule, `${key}[${index}]`));
  return (attributes) => {
    const grants: Grant[] = [];
    const misfits: { rule: number; attribute: string }[] = [];
    for (const [rule, fit] of compiled.entries()) {
      const outcome = fit(attributes);
      if (typeof outcome === 'string') misfits.push({ rule, attribute: outcome });
      else grants.push(outcome);
    }
    return { grants, misfits };
  };
}

/** In a refusal. */
const MISFITS_TOLD = 5;

export function tellMisfits(misfits: Fit['misfits']): string {
  const told = misfits.slice(0, MISFITS_TOLD).map(({ rule, attribute }) => `rules[${rule}] expects another ${JSON.stringify(attribute)}`);
  return `${told.join('; ')}${misfits.length > MISFITS_TOLD ? '; …' : ''}`;
}

/** Gives the grant, or the attribute that does not fit. */
function compile(rule: AttributeRuleConfig, key: string): (attributes: Attributes) => Grant | string {
  const wanted = [...rule.where].map(([name, patterns]) => ({ name, matchers: patterns.map(compilePattern) }));
  const places = (rule.views ?? []).map((view) => PLACE.exec(view)?.[1]).filter((name) => name !== undefined);
  // Compiled with a value as good as any: what cannot be is said at the start.
  const constant = compileGrant({ ...rule, views: rule.views?.map((view) => view.replace(PLACE, 'x')) }, key);
  return (attributes) => {
    const other = wanted.find(({ name, matchers }) => !attributes(name).some((value) => matchers.some((matches) => matches(value))));
    if (other !== undefined) return other.name;
    if (places.length === 0) return constant;
    const views = (rule.views ?? []).map((view) => filled(view, attributes)).filter((view) => view !== undefined);
    return views.length === 0 ? (places[0] ?? '') : compileGrant({ ...rule, views }, key);
  };
}

/** Undefined where the attribute is none or several, or is not what a view can be called. */
function filled(view: string, attributes: Attributes): string | undefined {
  const place = PLACE.exec(view)?.[1];
  if (place === undefined) return view;
  const values = attributes(place);
  const [value = ''] = values;
  if (values.length !== 1 || !/^[a-z0-9-]+$/.test(value)) return undefined;
  const named = view.replace(PLACE, () => value);
  try {
    return RESERVED.has(parseViewId(named)) ? undefined : named;
  } catch {
    return undefined;
  }
}
