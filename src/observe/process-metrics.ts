/** Measures of the process itself, read only when somebody looks; and how long the event loop is held up. */
import { readdirSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { Exposition } from './exposition.ts';

const LOOP_RESOLUTION_MS = 20;
const NANOSECONDS = 1e9;

/** Begins to measure; returns how to end it. Each look at the delays begins them anew. */
export function measureProcess(exposition: Exposition, startedMs: number): () => void {
  const cpu = exposition.counter('process_cpu_seconds_total', 'Processor time of all workers, user and system.').with({});
  const resident = exposition.gauge('process_resident_memory_bytes', 'Resident memory of all workers.').with({});
  const heap = exposition.gauge('nodejs_heap_size_used_bytes', 'JavaScript heap in use.').with({});
  const external = exposition.gauge('nodejs_external_memory_bytes', 'Memory of buffers.').with({});
  const descriptors = exposition.gauge('process_open_fds', 'Open file descriptors.').with({});
  exposition.gauge('process_start_time_seconds', 'When the oldest worker began, seconds since the epoch.', [], 'min').with({}).value =
    startedMs / 1000;
  const delays = exposition.gauge(
    'umbra_event_loop_delay_seconds',
    'How long the event loop was held up since the last look, in the worst worker.',
    ['quantile'],
    'max',
  );
  const [median, high, longest] = ['0.5', '0.99', '1'].map((quantile) => delays.with({ quantile }));

  const delay = monitorEventLoopDelay({ resolution: LOOP_RESOLUTION_MS });
  delay.enable();
  // The monitor measures its own timer, whose period is part of every value.
  const seconds = (nanoseconds: number): number => Math.max(0, nanoseconds / NANOSECONDS - LOOP_RESOLUTION_MS / 1000);
  exposition.onCollect(() => {
    const { user, system } = process.cpuUsage();
    const memory = process.memoryUsage();
    cpu.value = (user + system) / 1e6;
    resident.value = memory.rss;
    heap.value = memory.heapUsed;
    external.value = memory.external;
    descriptors.value = openDescriptors();
    if (delay.count === 0) return;
    if (median !== undefined) median.value = seconds(delay.percentile(50));
    if (high !== undefined) high.value = seconds(delay.percentile(99));
    if (longest !== undefined) longest.value = seconds(delay.max);
    delay.reset();
  });
  return () => void delay.disable();
}

function openDescriptors(): number {
  try {
    return readdirSync('/proc/self/fd').length - 1; // one is that of the look
  } catch {
    return 0; // no Linux
  }
}
