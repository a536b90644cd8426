/**
 * What gives temporary AWS credentials, on loopback, each as AWS documents it: the metadata service of an EC2 instance
 * (version 2: a token first), the endpoint of a container, and STS for a web identity. All give the same.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';

export interface TemporaryCredentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken: string;
}

export interface AwsIdentityOptions extends TemporaryCredentials {
  /** Of what is given. */
  readonly lifetimeSeconds: number;
}

const ROLE = 'node-role';
const CONTAINER_PATH = '/v2/credentials/container';
/** What a container and a web identity must show. */
const PROOF = 'a-proof-of-who-asks';
const METADATA_TOKEN = 'a-metadata-token';

export class AwsIdentity implements AsyncDisposable {
  readonly proof: string = PROOF;
  readonly roleArn: string = `arn:aws:iam::123456789012:role/${ROLE}`;
  /** Given from now on. */
  given: AwsIdentityOptions;
  /** How often credentials were given. */
  asked = 0;
  readonly #server: Server;

  private constructor(given: AwsIdentityOptions) {
    this.given = given;
    this.#server = createServer((asked, answer) => void this.#answer(asked, answer));
  }

  static async start(given: AwsIdentityOptions): Promise<AwsIdentity> {
    const identity = new AwsIdentity(given);
    identity.#server.listen(0, '127.0.0.1');
    await once(identity.#server, 'listening');
    return identity;
  }

  /** Without a `/` at its end. */
  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`; // a TCP server's address is none of a pipe
  }

  get containerUrl(): string {
    return `${this.url}${CONTAINER_PATH}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }

  async #answer(asked: IncomingMessage, answer: ServerResponse): Promise<void> {
    const [status, body] = await this.#answerTo(asked);
    answer.writeHead(status).end(body);
  }

  async #answerTo(asked: IncomingMessage): Promise<readonly [number, string]> {
    const { method, url, headers } = asked;
    if (method === 'PUT' && url === '/latest/api/token') return headers['x-aws-ec2-metadata-token-ttl-seconds'] === undefined ? [400, ''] : [200, METADATA_TOKEN];
    if (url?.startsWith('/latest/meta-data/iam/security-credentials/') === true) {
      if (headers['x-aws-ec2-metadata-token'] !== METADATA_TOKEN) return [401, ''];
      return url.endsWith('/') ? [200, ROLE] : url.endsWith(`/${ROLE}`) ? [200, this.#json()] : [404, ''];
    }
    if (method === 'GET' && url === CONTAINER_PATH) return headers.authorization === PROOF ? [200, this.#json()] : [403, '{}'];
    if (method === 'POST' && url === '/') return this.#assumeRole(new URLSearchParams(await text(asked)));
    return [404, ''];
  }

  #json(): string {
    const { accessKeyId, secretAccessKey, sessionToken } = this.given;
    return JSON.stringify({ Code: 'Success', Type: 'AWS-HMAC', AccessKeyId: accessKeyId, SecretAccessKey: secretAccessKey, Token: sessionToken, Expiration: this.#give() });
  }

  /** STS, AssumeRoleWithWebIdentity: a form in, XML out. */
  #assumeRole(form: URLSearchParams): readonly [number, string] {
    if (form.get('Action') !== 'AssumeRoleWithWebIdentity' || form.get('WebIdentityToken') !== PROOF || form.get('RoleArn') !== this.roleArn) {
      return [403, '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>Not authorized to perform sts:AssumeRoleWithWebIdentity</Message></Error></ErrorResponse>'];
    }
    const { accessKeyId, secretAccessKey, sessionToken } = this.given;
    return [200, `<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>${accessKeyId}</AccessKeyId><SecretAccessKey>${secretAccessKey}</SecretAccessKey><SessionToken>${sessionToken}</SessionToken><Expiration>${this.#give()}</Expiration></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`];
  }

  /** When what is given now ends. */
  #give(): string {
    this.asked += 1;
    return new Date(Date.now() + this.given.lifetimeSeconds * 1000).toISOString().replace(/\.\d+Z$/, 'Z');
  }
}
