/** A job's node: a machine whose /etc is put together as zuul-jobs do it. Programs see it by `machine.ts`. */
import { appendFile, cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

const AUTHORITIES = '/etc/ssl/certs/ca-certificates.crt';

export class JobNode {
  /** The folder that has its etc. */
  readonly root: string;

  private constructor(root: string) {
    this.root = root;
  }

  /** `root` is made if absent. */
  static async create(root: string): Promise<JobNode> {
    const node = new JobNode(root);
    await node.write('/etc/hosts', await readFile('/etc/hosts', 'utf8'));
    await cp('/etc/ssl', join(root, 'etc/ssl'), { recursive: true, verbatimSymlinks: true, filter: (path) => !path.startsWith('/etc/ssl/private') });
    return node;
  }

  /** Makes a file of the machine's; `path` begins with /etc/. */
  async write(path: string, text: string): Promise<void> {
    await mkdir(dirname(join(this.root, path)), { recursive: true });
    await writeFile(join(this.root, path), text);
  }

  /** A line in /etc/hosts. */
  async alias(address: string, name: string): Promise<void> {
    await appendFile(join(this.root, '/etc/hosts'), `${address} ${name}\n`);
  }

  /** As `update-ca-certificates` does. */
  async trust(pem: string): Promise<void> {
    await appendFile(join(this.root, AUTHORITIES), `\n${pem}`);
  }
}
