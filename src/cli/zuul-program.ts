/**
 * The command line of a zuul-registry, as its users have it in their units and containers: bin/zuul-registry. It takes
 * that registry's configuration, and ours.
 */
import { Argument, type Command } from 'commander';
import type { World } from './world.ts';

export const DEFAULT_ZUUL_FILE = '/conf/registry.yaml';

interface ZuulOptions {
  readonly config: string;
  readonly debug?: boolean;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

/** @param program without anything in it */
export function zuulProgram(program: Command, world: World, version: string, exit: (code: number) => void): Command {
  return program
    .description("Umbra, with the command line and the configuration file of a zuul-registry. serve runs the registry; prune removes tags that are older than storage's expiration, and abandoned uploads.")
    .version(`umbra ${version}`, '-V, --version')
    .addArgument(new Argument('[command]', 'what to do').choices(['serve', 'prune']).default('serve'))
    .option('-c, --config <file>', 'configuration file', DEFAULT_ZUUL_FILE)
    .option('-d, --debug', 'log more; the same as DEBUG=1 in the environment')
    .option('--dry-run', 'prune: say what would be removed, and remove nothing')
    .option('--json', 'prune: print JSON, for programs')
    .action(async (command: 'serve' | 'prune', { config, debug, dryRun = false, json = false }: ZuulOptions) => {
      if (command === 'serve' && (dryRun || json)) program.error(`error: ${dryRun ? '--dry-run' : '--json'} is for prune`, { exitCode: 2 });
      if (command === 'serve') exit(await (await import('./commands/serve.ts')).serveRegistry({ config, debug: debug ?? world.env['DEBUG'] === '1' }, world));
      else exit(await (await import('./commands/prune.ts')).prune({ config, dryRun, json, uploads: true, tags: 'if-they-expire' }, world));
    });
}
