/** The end of a multipart upload: completed, although the answer may be lost, or given up. */
import { AbortMultipartUploadCommand, CompleteMultipartUploadCommand, type CompletedPart, type S3Client } from '@aws-sdk/client-s3';
import { DriverError } from '../driver.ts';
import type { Http, S3Calls } from './client.ts';
import { codeOf, isUploadGone } from './errors.ts';
import type { S3Objects } from './objects.ts';

export interface Upload {
  readonly Bucket: string;
  readonly Key: string;
  readonly UploadId: string | undefined;
}

export interface Completing {
  readonly calls: S3Calls;
  readonly objects: S3Objects;
  readonly upload: Upload;
  /** Without the root. */
  readonly key: string;
  /** That the upload was begun with. */
  readonly nonce: string;
  readonly parts: readonly CompletedPart[];
  readonly signal?: AbortSignal | undefined;
}

const COMPLETE_MS = 300_000;

/** @throws DriverError whose cause says `isUploadGone`, where all parts are needed again */
export async function completeUpload({ calls, objects, upload, key, nonce, parts, signal }: Completing): Promise<void> {
  const send = async (client: S3Client, http: Http): Promise<void> => {
    try {
      await client.send(new CompleteMultipartUploadCommand({ ...upload, MultipartUpload: { Parts: [...parts] } }), http);
    } catch (error) {
      if (!isUploadGone(error)) throw error;
      // It may have succeeded before, its answer lost; else all parts are needed again.
      if ((await objects.standing(key, { signal: http.abortSignal }))?.nonce === nonce) return;
      throw new DriverError('permanent', `complete ${key}: ${calls.store} lost the parts (${codeOf(error)})`, { cause: error });
    }
  };
  await calls.run(`complete ${key}`, send, { signal, timeoutMs: COMPLETE_MS });
}

/** What cannot be given up now is for the sweep. */
export async function abortUpload(calls: S3Calls, upload: Upload): Promise<void> {
  await calls.run(`abort ${upload.Key}`, (client, http) => client.send(new AbortMultipartUploadCommand(upload), http), { attempts: 2 }).catch(() => undefined);
}
