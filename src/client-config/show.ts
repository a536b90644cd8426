/** A plan in words and for programs. Passwords show as `***`. */
import type { Plan } from './plan.ts';

const HOW = { whole: '', json: ' (merged into the JSON that is there)', toml: ' (put in as a marked block where there is one)' } as const;

export function formatPlan({ changes, notes }: Plan): string {
  const files = changes.map(({ path, mode, how, content }) => `# ${path}, mode ${mode.toString(8).padStart(4, '0')}${HOW[how]}\n${content.trimEnd()}\n`);
  const needs = [...new Set(changes.flatMap(({ needs: need }) => (need === undefined ? [] : [`# then ${need.action} ${need.service}: ${need.why}`])))];
  return [...files, [...needs, ...notes.map((note) => `# note: ${note}`)].join('\n')].join('\n').trimEnd();
}

export function planForPrograms({ changes, notes }: Plan): object {
  return {
    files: changes.map(({ path, mode, how, content, secret, needs, clients }) => ({ path, mode: mode.toString(8).padStart(4, '0'), how, content, secret, clients, needs })),
    notes,
  };
}
