/** The loads: wrk for rates, curl for throughput. Every answer is checked, so that fast errors never count as speed. */
import { run } from './process.ts';

const CONNECTIONS = 32;

/** Requests a second that wrk gets answered with 32 connections. */
export async function rate(
  url: string,
  seconds: number,
  options: { readonly method?: 'HEAD'; readonly accept?: string; readonly headers?: readonly string[] } = {},
): Promise<number> {
  const args = ['-t2', `-c${CONNECTIONS}`, `-d${seconds}s`];
  if (options.accept !== undefined) args.push('-H', `Accept: ${options.accept}`);
  for (const header of options.headers ?? []) args.push('-H', header);
  if (options.method !== undefined) args.push('-s', `${import.meta.dirname}/head.lua`);
  const out = await run('wrk', [...args, url]);
  const failures = /Non-2xx or 3xx responses: \d+|Socket errors: .*/.exec(out)?.[0];
  if (failures !== undefined) throw new Error(`${url}: ${failures}`);
  const value = Number(/Requests\/sec:\s+([\d.]+)/.exec(out)?.[1]);
  if (!(value > 0)) throw new Error(`${url}: wrk got no answer: ${out}`);
  return value;
}

/** Seconds that so many clients need, each a curl of its own, to get all of the URLs one after the other. */
export async function downloadSeconds(
  clients: number,
  urls: readonly string[],
  bytes: number,
  headers: readonly string[] = [],
): Promise<number> {
  const args = [
    '-sS',
    '--fail',
    '-w',
    '%{http_code} %{size_download} %{time_total}\\n',
    ...headers.flatMap((h) => ['-H', h]),
    ...urls.flatMap((url) => ['-o', '/dev/null', url]),
  ];
  const before = performance.now();
  const outputs = await Promise.all(Array.from({ length: clients }, () => run('curl', args)));
  const wall = (performance.now() - before) / 1000;
  let own = 0;
  for (const out of outputs) {
    const transfers = out
      .trim()
      .split('\n')
      .map((line) => line.split(' '));
    const received = transfers.reduce((sum, [, size]) => sum + Number(size), 0);
    if (transfers.some(([code]) => code !== '200') || received !== bytes)
      throw new Error(`${urls.join(' ')}: expected ${bytes} bytes and 200, got ${out}`);
    own = transfers.reduce((sum, [, , time]) => sum + Number(time), 0);
  }
  // One client's own clock leaves out that a process had to be started.
  return clients === 1 ? own : wall;
}
