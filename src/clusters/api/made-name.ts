/** Names for what clients did not name, as Magnum makes them: `zeta-22-template`. */

const GREEK = ['alpha', 'beta', 'gamma', 'delta', 'epsilon', 'zeta', 'eta', 'theta', 'iota', 'kappa', 'lambda', 'mu', 'nu', 'xi', 'omicron', 'pi', 'rho', 'sigma', 'tau', 'upsilon', 'phi', 'chi', 'psi', 'omega'] as const;
const NUMBERS = 24;

/** @param random from 0 to less than 1 */
export function madeName(what: 'template' | 'cluster', random: () => number): string {
  return `${GREEK[Math.floor(random() * GREEK.length)] ?? GREEK[0]}-${1 + Math.floor(random() * NUMBERS)}-${what}`;
}
