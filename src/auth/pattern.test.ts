import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compilePattern, namePatternProblem, viewPatternProblem } from './pattern.ts';

/** By the definition: `*` is any run of characters. Exponential, and obviously right. */
function naive(pattern: string, text: string): boolean {
  if (pattern === '') return text === '';
  if (pattern.startsWith('*')) return naive(pattern.slice(1), text) || (text !== '' && naive(pattern, text.slice(1)));
  return text.startsWith(pattern.charAt(0)) && text !== '' && naive(pattern.slice(1), text.slice(1));
}

const few = (letters: string, maxLength: number): fc.Arbitrary<string> => fc.string({ unit: fc.constantFrom(...letters), maxLength });

describe('compilePattern', () => {
  test('agrees with the definition', () => {
    fc.assert(fc.property(few('ab/*', 8), few('ab/', 10), (pattern, text) => {
      expect(compilePattern(pattern)(text)).toBe(naive(pattern, text));
    }), { numRuns: 3000 });
  });

  test('matches whatever its stars are replaced by', () => {
    fc.assert(fc.property(fc.array(few('ab*', 4), { minLength: 1, maxLength: 5 }), fc.array(few('ab', 4), { minLength: 20, maxLength: 20 }), (parts, fillings) => {
      const pattern = parts.join('*');
      let next = 0;
      const text = pattern.replace(/\*/g, () => fillings[next++ % fillings.length] ?? '');
      expect(compilePattern(pattern)(text)).toBe(true);
    }));
  });

  test('looks at a name that nearly matches a hostile pattern a bounded number of times', () => {
    // With backtracking, 40 stars over 500 characters would not end in the life of the machine.
    expect(compilePattern(`${'*a'.repeat(40)}*b`)('a'.repeat(500))).toBe(false);
  });

  test.each([
    ['docker.io/org/*', 'docker.io/org/app', true],
    ['docker.io/org/*', 'docker.io/org/deep/app', true],
    ['docker.io/org/*', 'docker.io/org', false],
    ['docker.io/org/*', 'docker.io/organisation/app', false],
    ['docker.io/org/*', 'quay.io/docker.io/org/app', false],
    ['*/team/*', 'quay.io/team/app', true],
    ['docker.io/library/nginx', 'docker.io/library/nginx', true],
    ['docker.io/library/nginx', 'docker.io/library/nginx2', false],
    ['a*a', 'a', false],
  ])('%s and %s: %s', (pattern, name, matches) => {
    expect(compilePattern(pattern)(name)).toBe(matches);
  });
});

describe('namePatternProblem', () => {
  test.each(['*', 'docker.io/org/*', '*/org/*', 'docker.io/library/nginx', 'docker.io/*', 'docker.*', 'localhost/x', 'host:5000/x', '[::1]:5000/x', 'quay.io/app'])(
    'lets %s be', (pattern) => { expect(namePatternProblem(pattern)).toBeUndefined(); },
  );
  test.each([
    ['org/*', 'docker.io/org/*'],
    ['nginx', 'docker.io/nginx'],
    ['docker.io/nginx', 'docker.io/library/nginx'],
    ['', 'docker.io/org/*'],
    ['docker.io/Org/*', 'lower-case'],
    ['docker.io/or g/*', 'lower-case'],
  ])('says of %j what was meant', (pattern, hint) => { expect(namePatternProblem(pattern)).toContain(hint); });
});

test.each([['main', true], ['*', true], ['change-*', true], ['Main', false], ['a.view', false], ['', false]])('viewPatternProblem(%j)', (pattern, fine) => {
  expect(viewPatternProblem(pattern) === undefined).toBe(fine);
});
