/** Every sentence of `driver.ts` as tests. Each driver's own test file runs this over a store of its kind. */
import { describe } from 'vitest';
import { assembliesContract } from './assemblies.contract.ts';
import { claimsContract } from './claims.contract.ts';
import { listingContract } from './listing.contract.ts';
import { objectsContract } from './objects.contract.ts';
import { sourceContract } from './source.contract.ts';
import type { ContractStore } from './store.contract.ts';

export type { ContractStore } from './store.contract.ts';

/** @param makeStore an empty store, for one test */
export function driverContract(name: string, makeStore: () => Promise<ContractStore>): void {
  describe(`${name} keeps the driver contract`, () => {
    objectsContract(makeStore);
    sourceContract(makeStore);
    listingContract(makeStore);
    claimsContract(makeStore);
    assembliesContract(makeStore);
  });
}
