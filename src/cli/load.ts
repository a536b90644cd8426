/** The configuration of a command: a file in our words or in those of a zuul-registry. */
import { loadConfig, type Loaded, type Surroundings } from '../config/load.ts';
import { ZUUL } from '../zuul/dialect.ts';

/** @throws ConfigError */
export function load(file: string | undefined, surroundings: Surroundings): Promise<Loaded> {
  return loadConfig(file, surroundings, ZUUL);
}
