/**
 * Where an S3's keys are not in the configuration: each way of AWS's default chain, against what gives them, over
 * Swift's s3api, which knows the keys and takes no notice of a session token.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, test, vi } from 'vitest';
import { AwsIdentity } from '../../../test/services/aws-identity.ts';
import { freshContainer } from '../../../test/services/openstack.ts';
import { SwiftAccount } from '../../../test/services/swift-account.ts';
import { systemTimers } from '../../workers/timers.ts';
import type { Driver } from '../driver.ts';
import { openS3 } from './s3.ts';

const openstack = inject('openstack');
const { accessKeyId, secretAccessKey } = openstack.s3;
const bucket = freshContainer('s3-credentials');
const HOUR_SECONDS = 3_600;
let dir: string;
let identity: AwsIdentity;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'umbra-aws-'));
  await writeFile(join(dir, 'token'), 'a-proof-of-who-asks');
});
afterAll(async () => {
  await rm(dir, { recursive: true });
  await new SwiftAccount(openstack).remove(bucket);
});
beforeEach(async () => {
  identity = await AwsIdentity.start({ accessKeyId, secretAccessKey, sessionToken: 'a-session', lifetimeSeconds: HOUR_SECONDS });
  // Nothing of the machine's: the SDK looks at the environment of the process.
  for (const name of Object.keys(process.env).filter((key) => key.startsWith('AWS_'))) vi.stubEnv(name, undefined);
  set({ AWS_SHARED_CREDENTIALS_FILE: join(dir, 'none'), AWS_CONFIG_FILE: join(dir, 'none'), AWS_EC2_METADATA_DISABLED: 'true' });
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await identity[Symbol.asyncDispose]();
});

function set(variables: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(variables)) vi.stubEnv(name, value);
}

async function open(): Promise<Driver> {
  const storage = { endpoint: openstack.swiftOrigin, region: openstack.region, bucket, prefix: '', credentials: undefined, pathStyle: true, redirect: 'always', claims: 'settle', ca: undefined, insecure: false } as const;
  return await openS3(storage, { nowMs: Date.now, timers: systemTimers, memoryBytes: 16 * 1024 * 1024, report: () => undefined });
}

/** With what the driver signs now: key and session. */
async function signer(driver: Driver): Promise<readonly [string | undefined, string | null]> {
  const { searchParams } = new URL((await driver.redirect?.('key')) ?? '');
  return [searchParams.get('X-Amz-Credential')?.split('/')[0], searchParams.get('X-Amz-Security-Token')];
}

const container = (): Record<string, string> => ({ AWS_CONTAINER_CREDENTIALS_FULL_URI: identity.containerUrl, AWS_CONTAINER_AUTHORIZATION_TOKEN: identity.proof });
const webIdentity = (): Record<string, string> => ({ AWS_WEB_IDENTITY_TOKEN_FILE: join(dir, 'token'), AWS_ROLE_ARN: identity.roleArn, AWS_ENDPOINT_URL_STS: identity.url });

async function sharedFile(name: string): Promise<Record<string, string>> {
  await writeFile(join(dir, name), `[default]\naws_access_key_id = nobody\naws_secret_access_key = nothing\n[images]\naws_access_key_id = ${accessKeyId}\naws_secret_access_key = ${secretAccessKey}\n`);
  return { AWS_SHARED_CREDENTIALS_FILE: join(dir, name), AWS_PROFILE: 'images' };
}

describe('credentials are found', () => {
  test.each<[string, () => Record<string, string> | Promise<Record<string, string>>, string | null, number]>([
    ['in the environment', () => ({ AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey }), null, 0],
    ['in the environment, with a session', () => ({ AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey, AWS_SESSION_TOKEN: 'a-session' }), 'a-session', 0],
    ['under a profile of the shared file', async () => await sharedFile('credentials'), null, 0],
    ['by a web identity', webIdentity, 'a-session', 1],
    ['at the endpoint of a container', container, 'a-session', 1],
    ['at the metadata service of an instance', () => ({ AWS_EC2_METADATA_DISABLED: 'false', AWS_EC2_METADATA_SERVICE_ENDPOINT: identity.url, AWS_EC2_METADATA_V1_DISABLED: 'true' }), 'a-session', 1],
  ])('%s', async (_, variables, session, asked) => {
    set(await variables());
    const driver = await open();
    try {
      await driver.put('key', Buffer.from('bytes'));
      const source = await driver.open('key'); // by the client for bodies
      await source?.close();
      expect(source?.stat.size).toBe(5);
      expect(await signer(driver)).toEqual([accessKeyId, session]);
      expect(identity.asked).toBe(asked);
    } finally {
      await driver.close();
    }
  });
});

test.each<[string, () => Record<string, string>]>([
  ['a web identity', webIdentity],
  ['a container', container],
])('those of %s that are about to end are renewed while they are used', async (_, variables) => {
  set(variables());
  identity.given = { ...identity.given, lifetimeSeconds: 60 };
  const driver = await open();
  try {
    expect(await signer(driver)).toEqual([accessKeyId, 'a-session']);
    identity.given = { ...identity.given, sessionToken: 'the-next-session', lifetimeSeconds: HOUR_SECONDS };
    await expect.poll(async () => await signer(driver)).toEqual([accessKeyId, 'the-next-session']);
    const { asked } = identity;
    await driver.put('key', Buffer.from('bytes'));
    expect(identity.asked).toBe(asked);
  } finally {
    await driver.close();
  }
});

describe('the start fails, and says why,', () => {
  test.each<[string, () => Record<string, string>, RegExp]>([
    ['where there are none', () => ({}), /^no credentials for S3 at http:\/\/127\.0\.0\.1:\d+: Could not load credentials from any providers; set accessKeyId and secretAccessKeyFile, or /],
    ['where STS refuses the role', () => ({ ...webIdentity(), AWS_ROLE_ARN: 'arn:aws:iam::123456789012:role/other' }), /^no credentials for S3 at http:\/\/127\.0\.0\.1:\d+: AccessDenied: Not authorized to perform sts:AssumeRoleWithWebIdentity; the environment has AWS_WEB_IDENTITY_TOKEN_FILE; may this identity have the role\?$/],
    ['where the token is missing', () => ({ ...webIdentity(), AWS_WEB_IDENTITY_TOKEN_FILE: join(dir, 'none') }), /^no credentials for S3 at http:\/\/127\.0\.0\.1:\d+: ENOENT: no such file or directory, open '.*\/none'; the environment has AWS_WEB_IDENTITY_TOKEN_FILE; set accessKeyId/],
    ['where the profile is unknown', () => ({ AWS_PROFILE: 'unknown' }), /^no credentials for S3 at .*; the environment has AWS_PROFILE; set accessKeyId/],
  ])('%s', async (_, variables, message) => {
    set(variables());
    const failure = await open().then(() => undefined, (error: unknown) => error);
    expect(failure).toMatchObject({ failure: 'permanent', message: expect.stringMatching(message) });
  });
});
