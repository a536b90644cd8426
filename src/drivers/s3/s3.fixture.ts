/** Configurations of the S3 driver for tests. */
import { Secret, type S3Storage } from '../../config/config.ts';

/** As services for tests give it. */
export interface S3Service {
  readonly endpoint: string;
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

export function s3Storage({ endpoint, region, accessKeyId, secretAccessKey }: S3Service, changes: Pick<S3Storage, 'bucket' | 'prefix' | 'claims'> & Partial<S3Storage>): S3Storage {
  return {
    driver: 's3', endpoint, region, credentials: { accessKeyId, secretAccessKey: new Secret(secretAccessKey) },
    pathStyle: true, redirect: 'never', ca: undefined, insecure: false, disk: undefined,
    ...changes,
  };
}
