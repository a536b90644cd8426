/** The command line of `bench/run`. */
import { parseArgs } from 'node:util';
import { CONTENDERS, type Contender } from './row.ts';

export interface Options {
  /** Over a Keystone and Swift started for it, instead of local storage. */
  readonly swift: boolean;
  readonly rounds: number;
  /** One short round: to see that it works, not to compare by. */
  readonly quick: boolean;
  readonly json: boolean;
  readonly only: RegExp | undefined;
  readonly without: ReadonlySet<Contender>;
  /** Where the temporary folder is made; undefined: the system's. */
  readonly folder: string | undefined;
}

export const HELP = `usage: bench/run [--swift] [--quick] [--rounds N] [--only PATTERN] [--without CONTENDER] [--json] [--folder DIR]

Compares Umbra (bin/umbra, built) with Debian's docker-registry, and with nginx and openssl as limits, on this machine.

  --swift              both over one Swift, started for it from Debian's packages, held against Swift itself
  --quick              one short round, to see that it works
  --rounds N           measurements of each figure (default 5); the table gives medians
  --only PATTERN       rows whose name matches the regular expression, e.g. --only '256 MiB'
  --without CONTENDER  leave out umbra, docker-registry or limit; may be given several times
  --json               results as JSON on stdout instead of the table
  --folder DIR         where the temporary files go (default: TMPDIR or /tmp); the whole needs about 40 GiB`;

/** @throws Error that says what was wrong with the arguments */
export function parseOptions(args: readonly string[]): Options | 'help' {
  const { values } = parseArgs({
    args: [...args],
    options: {
      swift: { type: 'boolean', default: false },
      quick: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
      rounds: { type: 'string' },
      only: { type: 'string' },
      folder: { type: 'string' },
      without: { type: 'string', multiple: true, default: [] },
    },
  });
  if (values.help) return 'help';
  const rounds = Number(values.rounds ?? (values.quick ? 1 : 5));
  if (!Number.isInteger(rounds) || rounds < 1) throw new Error(`--rounds ${values.rounds}: expected a whole number from 1`);
  const without = new Set<Contender>();
  for (const name of values.without) {
    const contender = CONTENDERS.find((c) => c === name);
    if (contender === undefined) throw new Error(`--without ${name}: expected one of ${CONTENDERS.join(', ')}`);
    without.add(contender);
  }
  return {
    swift: values.swift,
    rounds,
    quick: values.quick,
    json: values.json,
    only: values.only === undefined ? undefined : new RegExp(values.only),
    without,
    folder: values.folder,
  };
}
