/**
 * Ceph's S3 gateway over a cluster of one, from Debian's packages: a monitor and a store in memory, all on loopback, all
 * state in one folder that goes with it. cephx is off: nobody else is there.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { run } from './command.ts';
import { Daemon } from './daemon.ts';
import { freePort } from './ports.ts';

export interface RadosgwSettings {
  /** `http://127.0.0.1:PORT`; path style. */
  readonly endpoint: string;
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** Of the cluster, for its administrator. */
  readonly confFile: string;
}

export interface Radosgw extends AsyncDisposable {
  readonly settings: RadosgwSettings;
}

const USER = 'umbra';
const START_MS = 120_000;

/** Takes about 10 s where nothing else runs. */
export async function startRadosgw(): Promise<Radosgw> {
  const dir = await mkdtemp('/tmp/umbra-radosgw-'); // short: sockets stand in it
  const daemons: Daemon[] = [];
  const stop = async (): Promise<void> => {
    // The store last: the gateway waits for it when it stops.
    for (const daemon of daemons.toReversed()) await daemon.kill();
    await rm(dir, { recursive: true, force: true });
  };
  try {
    return { settings: await start(dir, daemons), [Symbol.asyncDispose]: stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Allows the user this many bytes in all from now on; undefined: any. */
export async function limitUser({ confFile }: RadosgwSettings, bytes: number | undefined): Promise<void> {
  await admin(confFile, 'quota', 'set', '--quota-scope=user', `--uid=${USER}`, `--max-size=${bytes ?? -1}`);
  await admin(confFile, 'quota', bytes === undefined ? 'disable' : 'enable', '--quota-scope=user', `--uid=${USER}`);
}

async function admin(confFile: string, ...args: string[]): Promise<void> {
  await run('radosgw-admin', ['-c', confFile, '-n', 'client.rgw', ...args]);
}

async function start(dir: string, daemons: Daemon[]): Promise<RadosgwSettings> {
  const conf = join(dir, 'ceph.conf');
  const [monitorPort, port] = [await freePort(), await freePort()];
  for (const name of ['mon', 'osd', 'rgw', 'run', 'log']) await mkdir(join(dir, name));
  const fsid = randomUUID();
  await writeFile(join(dir, 'keyring'), '');
  await writeFile(conf, configuration(dir, fsid, monitorPort, port));

  await run('monmaptool', ['--create', '--fsid', fsid, '--addv', 'a', `[v2:127.0.0.1:${monitorPort}]`, join(dir, 'monmap')]);
  await run('ceph-mon', ['-c', conf, '--mkfs', '-i', 'a', '--monmap', join(dir, 'monmap')]);
  const ceph = (...args: string[]): Promise<string> => run('ceph', ['-c', conf, '--connect-timeout', '30', ...args]);
  daemons.push(await Daemon.start({ command: ['ceph-mon', '-c', conf, '-i', 'a', '-f'], ready: () => true }));
  const uuid = randomUUID();
  await ceph('osd', 'new', uuid);
  await ceph('osd', 'crush', 'add', 'osd.0', '1', 'root=default', 'host=localhost');
  await run('ceph-osd', ['-c', conf, '-i', '0', '--mkfs', '--osd-uuid', uuid]);
  daemons.push(await Daemon.start({ command: ['ceph-osd', '-c', conf, '-i', '0', '-f'], ready: () => true }));
  const deadline = performance.now() + START_MS;
  while (!/"num_up_osds": ?1/.test(await ceph('osd', 'stat', '-f', 'json'))) {
    if (performance.now() > deadline) throw new Error(`ceph-osd: not up in time\n${daemons.map(({ output }) => output).join('\n').slice(-4000)}`);
    await delay(100);
  }

  const settings = {
    endpoint: `http://127.0.0.1:${port}`,
    region: 'default',
    accessKeyId: randomBytes(10).toString('hex').toUpperCase(),
    secretAccessKey: randomBytes(20).toString('hex'),
    confFile: conf,
  };
  await admin(conf, 'user', 'create', `--uid=${USER}`, '--display-name=Umbra', `--access-key=${settings.accessKeyId}`, `--secret-key=${settings.secretAccessKey}`, '--max-buckets=10000');
  const answers = async (): Promise<boolean> => (await fetch(settings.endpoint).catch(() => undefined))?.ok === true;
  daemons.push(await Daemon.start({ command: ['radosgw', '-c', conf, '-n', 'client.rgw', '-f'], ready: answers, readyTimeoutMs: START_MS }));
  return settings;
}

function configuration(dir: string, fsid: string, monitorPort: number, port: number): string {
  // The gateway insists on encryption towards the monitor by default, which needs cephx.
  const plain = ['mon client', 'mon service', 'mon cluster', 'cluster', 'service', 'client'].map((peers) => `ms ${peers} mode = crc`);
  return `[global]
fsid = ${fsid}
mon host = v2:127.0.0.1:${monitorPort}
mon initial members = a
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind ipv6 = false
auth cluster required = none
auth service required = none
auth client required = none
${plain.join('\n')}
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 1000
mon data avail crit = 0
run dir = ${dir}/run
admin socket = ${dir}/run/$name.$pid.asok
pid file =
log file = ${dir}/log/$name.log
keyring = ${dir}/keyring
mon data = ${dir}/mon
osd data = ${dir}/osd
rgw data = ${dir}/rgw
osd objectstore = memstore
memstore device bytes = 8589934592
osd class load list = *
osd class default list = *
rgw frontends = beast endpoint=127.0.0.1:${port}
rgw bucket quota ttl = 0
rgw user quota bucket sync interval = 0
`;
}
