import { expect, it } from 'vitest';
import { Secret, type Config } from './config.ts';
import { packConfig, unpackConfig } from './transfer.ts';

const config = {
  workers: 2,
  upstreams: [{ host: 'docker.io', password: new Secret('s3cret'), ca: undefined }],
  auth: { users: [{ name: 'ci', passwordHash: new Secret('$2b$…') }] },
} as unknown as Config; // the parts that matter here

it('a configuration survives the way to a worker, secrets included', () => {
  const arrived = unpackConfig(JSON.parse(JSON.stringify(packConfig(config))));
  expect(arrived.upstreams[0]?.password?.reveal()).toBe('s3cret');
  expect(arrived.auth.users[0]?.passwordHash?.reveal()).toBe('$2b$…');
  expect(arrived.workers).toBe(2);
});

it('printing a configuration shows no secret', () => {
  expect(JSON.stringify(config)).not.toContain('s3cret');
  expect(JSON.stringify(unpackConfig(packConfig(config)))).not.toContain('s3cret');
});
