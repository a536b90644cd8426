/** Several processes over one store: races between them, and what is left when one is killed. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { AssemblyState } from '../driver.ts';
import { openFilesystem } from './filesystem.ts';
import { all, wholeOf } from '../contract/store.contract.ts';

const PROCESSES = 4;

describe('processes over one store', { timeout: 60_000 }, () => {
  let root: string;
  let children: { readonly process: ChildProcess; readonly lines: Interface }[];

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'umbra-processes-'));
    children = [];
  });
  afterEach(async () => {
    for (const { process: child } of children) child.kill('SIGKILL');
    await rm(root, { recursive: true });
  });

  /** Starts a process that runs `body` with `driver`, `me` and `say` once it reads a line, and tells when it is ready. */
  const start = async (me: number, body: string): Promise<{ readonly process: ChildProcess; readonly lines: Interface }> => {
    const program = `
      import { once } from 'node:events';
      import { openFilesystem } from ${JSON.stringify(new URL('filesystem.ts', import.meta.url).href)};
      const driver = await openFilesystem({ root: ${JSON.stringify(root)} });
      const me = ${me};
      const say = (value) => process.stdout.write(JSON.stringify(value) + '\\n');
      say('ready');
      await once(process.stdin, 'data');
      ${body}
      process.exit(0);`;
    const child = spawn(process.execPath, ['--input-type=module', '--eval', program], { stdio: ['pipe', 'pipe', 'inherit'] });
    const lines = createInterface({ input: child.stdout });
    children.push({ process: child, lines });
    const [ready] = (await Promise.race([once(lines, 'line'), once(lines, 'close')])) as unknown[];
    if (ready !== '"ready"') throw new Error('the process ended before it was ready');
    return { process: child, lines };
  };

  /** Runs `body` in several processes at once; what each said. */
  const race = async (body: string): Promise<unknown[][]> => {
    const racers = await Promise.all(Array.from({ length: PROCESSES }, (_, me) => start(me, body)));
    const heard = racers.map(async ({ lines }) => (await all(lines)).map((line): unknown => JSON.parse(line)));
    for (const { process: child } of racers) child.stdin?.write('go\n');
    return Promise.all(heard);
  };

  test('each claim has one winner, and everybody learns its value', async () => {
    const rounds = 150;
    const outcomes = await race(`
      for (let n = 0; n < ${rounds}; n++) {
        const { won, value } = await driver.claim('log/' + n + '/entry', Buffer.from('by ' + me));
        say({ won, value: value.toString() });
      }`);
    for (let n = 0; n < rounds; n++) {
      const claimed = outcomes.map((said) => said[n] as { won: boolean; value: string });
      const winner = claimed.findIndex(({ won }) => won);
      expect(claimed.filter(({ won }) => won).length).toBe(1);
      expect(claimed.map(({ value }) => value)).toEqual(claimed.map(() => `by ${winner}`));
    }
  });

  test('puts survive the pruning of their directories by others', async () => {
    const said = await race(`
      for (let n = 0; n < 150; n++) {
        const key = 'shared/deep/er/' + me;
        await driver.put(key, Buffer.from('x'), { durable: 'later' });
        if (await driver.head(key) === undefined) say('lost ' + n);
        await driver.delete([key]);
      }`);
    expect(said.flat()).toEqual([]);
    expect(await all((await openFilesystem({ root })).children(''))).toEqual([]);
  });

  test('attempts of several processes on one assembly never mix', async () => {
    const driver = await openFilesystem({ root });
    const states: AssemblyState[] = [driver.assemblies.create('uploads/fresh')];
    const begun = await driver.assemblies.append(driver.assemblies.create('uploads/begun'));
    await begun.write(Buffer.alloc(50_000, 'b'));
    states.push(await begun.finish());
    const said = await race(`
      for (const state of ${JSON.stringify(states)}) {
        for (let n = 0; n < 20; n++) {
          try {
            const appender = await driver.assemblies.append(state);
            const writes = [1, 2, 3].map(() => appender.write(Buffer.alloc(20_000, String(me))));
            await Promise.all(writes).catch(async (error) => { await appender.abandon(); throw error; });
            say({ state: await appender.finish() });
          } catch (error) {
            if (error.failure !== 'superseded') say({ error: String(error) });
          }
        }
      }`);
    const ends = said.flatMap((lines, me) => lines.map((line) => ({ me, ...(line as { state?: AssemblyState; error?: string }) })));
    expect(ends.filter(({ error }) => error !== undefined)).toEqual([]);
    for (const { prefix, offset } of states) {
      let completed = 0;
      for (const { me, state } of ends) {
        if (state?.prefix !== prefix) continue;
        const stat = await driver.assemblies.complete(state, `done/${prefix}`).catch(() => undefined);
        if (stat === undefined) continue;
        completed++;
        const expected = Buffer.concat([Buffer.alloc(offset, 'b'), Buffer.alloc(60_000, String(me))]);
        expect((await wholeOf(driver.open(`done/${prefix}`)))?.equals(expected)).toBe(true);
      }
      expect(completed).toBeLessThanOrEqual(1);
    }
  });

  test('a killed writer leaves only whole values and nothing in the way', async () => {
    const body = `
      for (let n = 0; ; n++) {
        await driver.put('k/' + (n % 7), Buffer.alloc(100_000, n % 250), { durable: n % 3 === 0 ? 'now' : 'later' });
        await driver.claim('c/' + n, Buffer.alloc(1000, n % 250));
        const appender = await driver.assemblies.append(driver.assemblies.create('uploads/' + n));
        await appender.write(Buffer.alloc(100_000, n % 250));
        await driver.assemblies.complete(await appender.finish(), 'b/' + n);
        say(n);
      }`;
    const driver = await openFilesystem({ root });
    for (const lifetime of [1, 4, 9]) {
      const { process: child, lines } = await start(lifetime, body);
      child.stdin?.write('go\n');
      let said = 0;
      for await (const _ of lines) {
        if (++said !== lifetime) continue;
        child.kill('SIGKILL');
        break;
      }
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
      const whole = new Set<number>();
      for await (const { key, size } of driver.list('')) {
        if (key.startsWith('uploads/')) continue; // gathered in part: removed by whoever discards the upload
        expect(size).toBe(key.startsWith('c/') ? 1_000 : 100_000);
        const bytes = (await driver.get(key))?.bytes;
        expect(bytes?.every((byte) => byte === bytes[0])).toBe(true);
        if (key.startsWith('b/')) whole.add(Number(key.slice(2)));
      }
      for (let n = 0; n < lifetime; n++) expect(whole.has(n)).toBe(true);
      for (const { name } of await all(driver.children('uploads/'))) await driver.assemblies.discard(driver.assemblies.create(`uploads/${name}`));
      await driver.delete((await all(driver.list(''))).map(({ key }) => key));
      await driver.removeLeftovers(Date.now() + 60_000);
      expect(await all(driver.children(''))).toEqual([]);
    }
  });
});
