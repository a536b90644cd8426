/** What the kernel says of a program and its children: for bounds on memory. */
import { readdir, readFile } from 'node:fs/promises';

/** The most memory that any process of the group ever had resident, in bytes (VmHWM). */
export async function peakMemory(groupId: number): Promise<number> {
  let peak = 0;
  for (const pid of await readdir('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    const [stat, status] = await Promise.all([readFile(`/proc/${pid}/stat`, 'utf8'), readFile(`/proc/${pid}/status`, 'utf8')]).catch(() => ['', ''] as const); // it ended
    // Behind the name, which may hold anything: state, parent, group.
    const group = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[2]);
    if (group !== groupId) continue;
    peak = Math.max(peak, 1024 * Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0));
  }
  if (peak === 0) throw new Error(`process group ${groupId} has no processes`);
  return peak;
}
