/**
 * Where the process begins. Knows nothing but how to get to `program.ts`, and holds to what Node.js 20 can parse and
 * load, so that one which is too old is told so in words.
 */
import { availableParallelism } from 'node:os';
import process from 'node:process';
import { setImmediate } from 'node:timers/promises';

const NEEDED = 24;

if (Number.parseInt(process.versions.node, 10) < NEEDED) {
  process.stderr.write(
    `umbra needs Node ${NEEDED} or later, this is ${process.version}; start it as bin/umbra, with the one that npm ci brings\n`,
  );
  process.exitCode = 1;
} else {
  process.exit(await main());
}

async function main(): Promise<number> {
  // A reader may leave early (`umbra config explain | head`), and a server outlives whoever read its log.
  let lost: Error | undefined;
  process.stdout.on('error', (error: NodeJS.ErrnoException) => (lost ??= error.code === 'EPIPE' ? undefined : error));
  process.stderr.on('error', () => undefined);
  const [{ run }, { createOutput }, { VERSION }] = await Promise.all([
    import('./program.ts'),
    import('./output.ts'),
    import('../version.ts'),
  ]);
  const versions = { umbra: VERSION, node: process.version, platform: `${process.platform}-${process.arch}` };
  const world = {
    cwd: process.cwd(),
    env: process.env,
    processors: availableParallelism(),
    output: createOutput(process.stdout, process.stderr),
  };
  const code = await run(process.argv.slice(2), world, versions);
  await setImmediate(); // by when a failed write has been told
  if (lost === undefined || code !== 0) return code;
  process.stderr.write(`umbra: the result cannot be written: ${lost.message}\n`);
  return 1;
}
