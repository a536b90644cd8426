/**
 * The one call of the container runtime interface that a kubelet pulls with: gRPC by hand over HTTP/2 on a unix
 * socket, since `PullImage` needs two messages of one string each (cri-api, pkg/apis/runtime/v1/api.proto).
 */
import { connect as connectHttp2, constants } from 'node:http2';
import { connect } from 'node:net';

const PATH = '/runtime.v1.ImageService/PullImage';

/** Gives the id of the image pulled. Rejects with the runtime's message. */
export async function pullImage(socket: string, reference: string): Promise<string> {
  const session = connectHttp2('http://localhost', { createConnection: () => connect(socket) });
  try {
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    session.once('error', reject);
    const call = session.request({ ':method': 'POST', ':path': PATH, 'content-type': 'application/grpc', te: 'trailers' });
    call.setTimeout(60_000, () => call.close(constants.NGHTTP2_CANCEL));
    let status: string | undefined;
    let message = '';
    const observe = (headers: Record<string, unknown>): void => {
      if (typeof headers['grpc-status'] === 'string') status = headers['grpc-status'];
      if (typeof headers['grpc-message'] === 'string') message = decodeURIComponent(headers['grpc-message']);
    };
    const chunks: Buffer[] = [];
    call.once('error', reject);
    // An answer without a message carries its outcome in the headers, any other in the trailers.
    call.on('response', observe).on('trailers', observe);
    call.on('data', (chunk: Buffer) => chunks.push(chunk));
    call.once('close', () => {
      if (status === '0') resolve(firstString(Buffer.concat(chunks).subarray(5)));
      else reject(new Error(`PullImage ${reference}: ${message || `no answer, status ${status ?? 'missing'}`}`));
    });
    // PullImageRequest { image: ImageSpec { image: reference } }, each field 1.
    call.end(frame(field(field(Buffer.from(reference)))));
    return await promise;
  } finally {
    session.close();
  }
}

/** A length-prefixed field number 1. */
function field(value: Buffer): Buffer {
  return Buffer.concat([Buffer.from([0x0a]), varint(value.length), value]);
}

function varint(value: number): Buffer {
  return value < 0x80 ? Buffer.from([value]) : Buffer.from([(value & 0x7f) | 0x80, ...varint(value >>> 7)]);
}

/** A gRPC message: not compressed, its length in four bytes. */
function frame(message: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

/** The value of field 1; image ids are far shorter than 128 bytes, so its length is one byte. */
function firstString(message: Buffer): string {
  return message.subarray(2, 2 + (message[1] ?? 0)).toString();
}
