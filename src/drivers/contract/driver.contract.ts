/** Every sentence of `driver.ts` as tests. Each driver's own test file runs this over a store of its kind. */
import { describe } from 'vitest';
import { assembliesContract } from './assemblies.contract.ts';
import { claimsContract } from './claims.contract.ts';
import { listingContract } from './listing.contract.ts';
import { objectsContract } from './objects.contract.ts';
import { sourceContract } from './source.contract.ts';
import type { ContractStore } from './store.contract.ts';

export type { ContractStore, Listings } from './store.contract.ts';

export type ContractPart = 'objects' | 'sources' | 'listings' | 'claims' | 'assemblies';

const PARTS: Readonly<Record<ContractPart, (makeStore: () => Promise<ContractStore>) => void>> = {
  objects: objectsContract,
  sources: sourceContract,
  listings: listingContract,
  claims: claimsContract,
  assemblies: assembliesContract,
};

/**
 * @param makeStore an empty store, for one test
 * @param parts default: all; fewer where the driver has nothing of its own to the others and its store is slow
 */
export function driverContract(name: string, makeStore: () => Promise<ContractStore>, parts: readonly ContractPart[] = Object.keys(PARTS) as ContractPart[] /* its keys */): void {
  describe(`${name} keeps the driver contract`, () => {
    for (const part of parts) PARTS[part](makeStore);
  });
}
