/** After the tests of each file: no program that they ran printed a secret. */
import { afterAll } from 'vitest';
import { secretsTold } from './secrets.ts';

// Set up first, so this runs last, when the programs have ended.
afterAll(() => {
  const told = secretsTold();
  if (told.length > 0) throw new Error(`secrets were printed:\n${told.join('\n')}`);
});
