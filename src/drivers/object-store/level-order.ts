/**
 * Puts a level's components in their own order. Stores list keys, in which the `/` behind a component counts: `a-b` and
 * `a.b/c` come before `a/x`, though the component `a` comes before `a-b`. So a component waits for as long as a shorter
 * one may still come; memory stays bounded by asking the store whether it will.
 */

export interface Component {
  readonly name: string;
  /** It is a whole key. */
  readonly leaf: boolean;
}

/** How many components may wait before the store is asked. */
const MAX_WAITING = 1_000;

/**
 * @param listed distinct components in the order of their keys: a leaf by its name, any other by its name and `/`
 * @param exists do keys lie below this component?
 */
export async function* inOwnOrder(listed: AsyncIterable<Component>, exists: (name: string) => Promise<boolean>, maxWaiting: number = MAX_WAITING): AsyncGenerator<Component> {
  /** Ordered by name. */
  const waiting: Component[] = [];
  /** Shorter components that are known not to come any more; all are beginnings of the one listed last. */
  let absent: string[] = [];
  for await (const component of listed) {
    const { name, leaf } = component;
    absent = absent.filter((shorter) => name.startsWith(shorter));
    waiting.splice(placeOf(waiting, name), 0, component);
    let awaited = awaitedAfter(name, absent);
    while (awaited !== undefined && waiting.length > maxWaiting && !(await exists(awaited))) {
      absent.push(awaited);
      awaited = awaitedAfter(name, absent);
    }
    yield* waiting.splice(0, awaited === undefined ? waiting.length : placeOf(waiting, awaited));
    // No key is the beginning of another at a `/`.
    if (leaf) absent.push(name);
  }
  yield* waiting;
}

/** The smallest component that may still come though it belongs before `name`, which was listed last. */
function awaitedAfter(name: string, absent: readonly string[]): string | undefined {
  for (let end = 1; end < name.length; end++) {
    // '+', '-' and '.' are the characters of keys that sort before '/'.
    if (!'+-.'.includes(name.charAt(end))) continue;
    const shorter = name.slice(0, end);
    if (!absent.includes(shorter)) return shorter;
  }
  return undefined;
}

/** Where `name` belongs among components in order. */
function placeOf(components: readonly Component[], name: string): number {
  let low = 0;
  let high = components.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((components[middle]?.name ?? '') < name) low = middle + 1;
    else high = middle;
  }
  return low;
}
