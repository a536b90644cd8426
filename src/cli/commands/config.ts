/** `umbra config …`: is the file good, what is in effect, and what may stand in it. */
import { explain, formatOrigin, formatValue } from '../../config/explain.ts';
import { loadConfig } from '../../config/load.ts';
import { ConfigError } from '../../config/problem.ts';
import { formatColumns, formatJson } from '../output.ts';
import { EXIT } from '../world.ts';
import type { World } from '../world.ts';

export interface ConfigOptions {
  /** The file. */
  readonly config?: string;
  readonly json?: boolean;
}

export async function check({ config, json = false }: ConfigOptions, world: World): Promise<number> {
  try {
    const { file } = await loadConfig(config, world);
    world.output.result(json ? formatJson({ ok: true, file, problems: [] }) : `${file ?? 'no file, so the defaults'}: ok`);
    return EXIT.ok;
  } catch (error) {
    if (!json || !(error instanceof ConfigError)) throw error;
    world.output.result(formatJson({ ok: false, problems: error.problems }));
    return EXIT.failed;
  }
}

export async function explainValues({ config, json = false }: ConfigOptions, world: World): Promise<number> {
  const loaded = await loadConfig(config, world);
  const rows = explain(loaded);
  if (json) world.output.result(formatJson(rows));
  else
    world.output.result(
      formatColumns(
        rows.map(({ key, value, origin, note }) => [
          key,
          formatValue(value),
          [formatOrigin(origin), note].filter((part) => part !== undefined).join('; '),
        ]),
      ),
    );
  return EXIT.ok;
}

export async function printSchema(world: World): Promise<number> {
  const { settingsJsonSchema } = await import('../../config/json-schema.ts');
  world.output.result(formatJson(settingsJsonSchema()));
  return EXIT.ok;
}
