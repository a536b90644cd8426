/** Sets of actions as numbers, one bit for each, and as the lists that tokens and scopes carry. */
import type { Action } from '../config/config.ts';

export const ACTION_BITS: Readonly<Record<Action, number>> = { pull: 1, push: 2, delete: 4, admin: 8 };

/** What a token can carry leave for: administering takes the user's own credentials. */
const TOKEN_ACTIONS: readonly Action[] = ['pull', 'push', 'delete'];

/** Unknown actions count for nothing; `*` is all that a token can carry. */
export function tokenActionBits(list: readonly string[]): number {
  return TOKEN_ACTIONS.reduce((bits, action) => (list.includes(action) || list.includes('*') ? bits | ACTION_BITS[action] : bits), 0);
}

export function tokenActionList(bits: number): readonly Action[] {
  return TOKEN_ACTIONS.filter((action) => (bits & ACTION_BITS[action]) !== 0);
}
