/** The loop that looks for clusters in progress and does what is to be done for them. */
import type { Lifecycle, LifecycleDeps } from './lifecycle.ts';

export function startLifecycle(_deps: LifecycleDeps): Lifecycle {
  return { wake: () => undefined, close: async () => undefined };
}
