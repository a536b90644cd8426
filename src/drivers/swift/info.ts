/** What a cluster says of itself (`GET /info`), as far as it matters here; clusters that say nothing are taken for plain ones. */
import { isDriverError, type CallOptions } from '../driver.ts';
import type { SwiftClient } from './client.ts';

export interface SwiftInfo {
  /** SLOs are there, and a manifest takes so many segments; undefined: they are not. */
  readonly maxSegments: number | undefined;
  /** Segments have at least so many bytes. */
  readonly maxObjectBytes: number;
  /** The best digest that TempURLs are signed with; undefined: there are none. */
  readonly tempUrlDigest: 'sha1' | 'sha256' | 'sha512' | undefined;
}

interface Said {
  readonly swift?: { readonly max_file_size?: number };
  readonly slo?: { readonly max_manifest_segments?: number };
  readonly tempurl?: { readonly allowed_digests?: readonly string[] };
}

const GIB = 1024 ** 3;
/** Operators may hide /info; then a Swift as it comes is assumed. */
const UNSAID: SwiftInfo = { maxSegments: 1_000, maxObjectBytes: 5 * GIB, tempUrlDigest: 'sha256' };

export async function swiftInfo(client: SwiftClient, options: CallOptions): Promise<SwiftInfo> {
  const answer = await client
    .call({ method: 'GET', scope: 'info', what: 'ask what the cluster can do', expect: [200, 401, 403, 404, 405], ...options })
    .catch((error: unknown) => {
      if (isDriverError(error, 'permanent')) return undefined;
      throw error;
    });
  if (answer?.status !== 200) return UNSAID;
  let said: Said;
  try {
    said = JSON.parse(answer.body.toString('utf8')) as Said; // each field is looked at below
  } catch {
    return UNSAID;
  }
  if (said.swift === undefined) return UNSAID;
  const digests = said.tempurl?.allowed_digests;
  return {
    maxSegments: said.slo === undefined ? undefined : (said.slo.max_manifest_segments ?? 1_000),
    maxObjectBytes: said.swift.max_file_size ?? UNSAID.maxObjectBytes,
    tempUrlDigest: said.tempurl === undefined ? undefined : ((['sha512', 'sha256', 'sha1'] as const).find((digest) => digests?.includes(digest)) ?? 'sha1'),
  };
}
