/** `umbra config …`: is the file good, what is in effect, and what may stand in it. */
import { explain, formatOrigin, formatValue } from '../../config/explain.ts';
import { load } from '../load.ts';
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
    const { file } = await load(config, world);
    world.output.result(json ? formatJson({ ok: true, file, problems: [] }) : `${file ?? 'no file, so the defaults'}: ok`);
    return EXIT.ok;
  } catch (error) {
    if (!json || !(error instanceof ConfigError)) throw error;
    world.output.result(formatJson({ ok: false, problems: error.problems }));
    return EXIT.failed;
  }
}

export async function explainValues({ config, json = false }: ConfigOptions, world: World): Promise<number> {
  const loaded = await load(config, world);
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

/** @param file of a zuul-registry */
export async function convertFile(file: string, world: World): Promise<number> {
  const { document, foreign } = await load(file, world);
  if (!foreign) {
    world.output.note(`umbra: ${file} has no registry:, so there is nothing to convert`);
    return EXIT.failed;
  }
  const { convert } = await import('../../zuul/convert.ts');
  const { text, clear } = convert(document);
  world.output.result(text.trimEnd());
  if (clear.length > 0) world.output.note(`umbra: these secrets stand in it for everybody to read: ${clear.join(', ')}; keep it as the other file was kept, or move them into files that secretFile, passwordFile or secretAccessKeyFile name`);
  return EXIT.ok;
}

export async function printSchema(world: World): Promise<number> {
  const { settingsJsonSchema } = await import('../../config/json-schema.ts');
  world.output.result(formatJson(settingsJsonSchema()));
  return EXIT.ok;
}
