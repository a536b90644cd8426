/** After the tests of each file: nothing that Umbra said in them was a secret. */
import { afterAll } from 'vitest';
import { beginWatch, endWatch } from './secret-watch.ts';

beginWatch();
// Set up first, so this runs last, when the programs have ended.
afterAll(() => endWatch());
