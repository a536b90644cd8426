/** The benchmark: runs the rows that are wanted, round by round with the contenders in turn, and prints what came out. */
import { openBench, type Bench } from './bench.ts';
import { HELP, parseOptions, type Options } from './options.ts';
import { failure, isBusy, machine, result, table, type Result } from './report.ts';
import type { Contender, Row, Sample, Section } from './row.ts';
import { clusters } from './rows/clusters.ts';
import { cold } from './rows/cold.ts';
import { diskTierStart } from './rows/disk-tier.ts';
import { memory } from './rows/memory.ts';
import { pull } from './rows/pull.ts';
import { push } from './rows/push.ts';
import { small } from './rows/small.ts';
import { startUp } from './rows/start.ts';
import { swiftLarge } from './rows/swift-large.ts';
import { swiftMemory } from './rows/swift-memory.ts';
import { swiftSmall } from './rows/swift-small.ts';

async function main(): Promise<number> {
  let options: Options | 'help';
  try {
    options = parseOptions(process.argv.slice(2));
  } catch (error) {
    process.stderr.write(`${String(error)}\n\n${HELP}\n`);
    return 2;
  }
  if (options === 'help') {
    process.stdout.write(`${HELP}\n`);
    return 0;
  }
  const on = machine();
  const bench = await openBench(options);
  const busy = isBusy(on) ? `the machine was busy (load average ${on.loadBefore.toFixed(1)}): compare by a run on an idle one` : '';
  if (busy !== '') bench.say(busy);
  const interrupt = new AbortController();
  // What runs is measured to its end; a second one ends it at once, and on the way out all that was started.
  const stop = (signal: 'SIGINT' | 'SIGTERM', code: number) => (): void => (interrupt.signal.aborted ? process.exit(code) : interrupt.abort(new Error(signal)));
  process.on('SIGINT', stop('SIGINT', 130)).on('SIGTERM', stop('SIGTERM', 143));
  const results: Result[] = [];
  try {
    const wanted = options.swift ? [swiftLarge, swiftSmall, swiftMemory] : [small, pull, push, cold, memory, startUp, diskTierStart, clusters];
    for (const of of wanted) results.push(...(await section(bench, of as Section<unknown>, interrupt.signal))); // each is given only the state that it made
  } finally {
    await bench.close();
  }
  if (options.json) {
    process.stdout.write(`${JSON.stringify({ machine: on, rounds: options.rounds, quick: options.quick, results }, null, 2)}\n`);
  } else {
    process.stdout.write(`${table(results)}\n\n`);
    process.stdout.write(`medians of ${options.rounds}; "dl": downloads from the upstream\n`);
    process.stdout.write(`on ${on.cores} × ${on.cpu}, ${on.memoryGiB} GiB, Linux ${on.kernel}, Node ${on.node}\n`);
    if (busy !== '') process.stdout.write(`${busy}\n`);
    if (options.quick) process.stdout.write('--quick shows that it works; compare by a full run on an otherwise idle machine\n');
  }
  return results.some((r) => r.error !== undefined) ? 1 : 0;
}

async function section<State>(bench: Bench, of: Section<State>, signal: AbortSignal): Promise<Result[]> {
  const { only, without, rounds } = bench.options;
  const rows = of.rows.filter((row) => only === undefined || only.test(row.name));
  if (rows.length === 0) return [];
  bench.say(`-- ${of.title}`);
  const state = await of.open(bench);
  try {
    const results: Result[] = [];
    for (const row of rows) {
      signal.throwIfAborted();
      const contenders = row.contenders.filter((contender) => !without.has(contender));
      try {
        const samples = await measure(row, state, contenders, Math.min(rounds, row.rounds ?? rounds), signal);
        results.push(result(of.title, row, samples));
        const inWords = [...samples].map(([contender, all]) => `${contender} ${all.map((s) => s.value.toPrecision(3)).join(' ')}`);
        bench.say(`   ${row.name}: ${inWords.join('; ')} ${row.unit}`);
      } catch (error) {
        signal.throwIfAborted();
        // The other rows are worth having; this one is said to have failed, and the exit code too.
        results.push(failure(of.title, row, error));
        bench.say(`   ${row.name}: ${String(error)}`);
      }
    }
    return results;
  } finally {
    await of.close(state);
  }
}

/** In turn, round by round, so that whatever else the machine does meets all of them. */
async function measure<State>(
  row: Row<State>,
  state: State,
  contenders: readonly Contender[],
  rounds: number,
  signal: AbortSignal,
): Promise<Map<Contender, Sample[]>> {
  const samples = new Map<Contender, Sample[]>(contenders.map((contender) => [contender, []]));
  for (let round = 0; round < rounds; round++) {
    for (const contender of contenders) {
      signal.throwIfAborted();
      const measured = await row.measure(state, contender, round);
      samples.get(contender)?.push(typeof measured === 'number' ? { value: measured } : measured);
    }
  }
  return samples;
}

process.exitCode = await main();
