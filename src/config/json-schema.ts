/** The configuration file as JSON Schema (draft-07), for editors. Loaded by `umbra config schema` only. */
import { toJsonSchema } from '@valibot/to-json-schema';
import type { JsonSchema } from '@valibot/to-json-schema';
import { SETTINGS } from './schema.ts';

const VARIABLE = '\\$\\{';

export function settingsJsonSchema(): JsonSchema {
  const schema = toJsonSchema(SETTINGS, {
    // Checks that are code have no counterpart; the patterns that matter are given beside them.
    errorMode: 'ignore',
    overrideSchema: ({ valibotSchema, jsonSchema }) =>
      valibotSchema.type === 'loose_object' ? { ...jsonSchema, additionalProperties: false } : undefined,
  });
  return { title: 'Umbra', ...withVariables(schema) };
}

/** Wherever a value is more than any text, `${NAME}` is welcome too. */
function withVariables(schema: JsonSchema): JsonSchema {
  const { properties, items, additionalProperties, ...rest } = schema;
  const children = {
    ...(properties && { properties: Object.fromEntries(Object.entries(properties).map(([key, child]) => [key, visit(child)])) }),
    ...(items && !Array.isArray(items) && { items: visit(items) }),
    ...(additionalProperties !== undefined && { additionalProperties: visit(additionalProperties) }),
  };
  if (rest.pattern !== undefined) return { ...rest, pattern: `${rest.pattern}|${VARIABLE}` };
  if (rest.enum === undefined && rest.anyOf === undefined) return { ...rest, ...children };
  const { description, default: fallback, enum: words, anyOf, type: _, ...others } = rest;
  return {
    ...(description !== undefined && { description }),
    ...(fallback !== undefined && { default: fallback }),
    ...others,
    anyOf: [...(anyOf ?? [{ enum: words ?? [] }]), { type: 'string', pattern: VARIABLE }],
  };
}

function visit<Child extends JsonSchema | boolean>(child: Child): JsonSchema | boolean {
  return typeof child === 'boolean' ? child : withVariables(child);
}
