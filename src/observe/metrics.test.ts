import { beforeEach, describe, expect, it } from 'vitest';
import { RegistryError } from '../oci/errors.ts';
import { members } from '../workers/group.fixture.ts';
import { soloGroup } from '../workers/solo.ts';
import { ManualTimers } from '../upstream/fill.fixture.ts';
import { gatherMetrics } from './gathering.ts';
import { createMetrics, type Metrics, type RequestFacts } from './metrics.ts';
import { measureProcess } from './process-metrics.ts';

let nowMs: number;
beforeEach(() => void (nowMs = 1_000_000));

function metrics(): Metrics {
  return createMetrics({ upstreams: ['docker.io'], version: '1.2.3', nowMs: () => nowMs });
}

const request: RequestFacts = { route: 'blob', method: 'GET', status: 200, ms: 30, bytesIn: 0, bytesOut: 100, source: 'view=main' };

describe('requests', () => {
  it('are counted by route, method and status, with their time, bytes and the source of the answer', () => {
    const counted = metrics();
    counted.request(request);
    counted.request({ ...request, source: 'upstream=docker.io; cache=hit' });
    counted.request({ ...request, route: 'upload', method: 'PATCH', status: 202, bytesIn: 7, bytesOut: 0, source: undefined });
    const text = counted.exposition.render();
    expect(text).toContain('umbra_requests_total{route="blob",method="GET",status="200"} 2\n');
    expect(text).toContain('umbra_requests_total{route="upload",method="PATCH",status="202"} 1\n');
    expect(text).toContain('umbra_request_seconds_bucket{route="blob",le="0.025"} 0\n');
    expect(text).toContain('umbra_request_seconds_bucket{route="blob",le="0.05"} 2\n');
    expect(text).toContain('umbra_request_seconds_count{route="blob"} 2\n');
    expect(text).toContain('umbra_bytes_total{direction="in"} 7\n');
    expect(text).toContain('umbra_bytes_total{direction="out"} 200\n');
    expect(text).toContain('umbra_answers_total{source="view"} 1\n');
    expect(text).toContain('umbra_answers_total{source="hit"} 1\n');
  });

  it('of clients who make things up do not make series', () => {
    const counted = metrics();
    for (let i = 0; i < 100; i++) counted.request({ ...request, method: `M${i}`, source: `upstream=docker.io; cache=x${i}` });
    const text = counted.exposition.render();
    expect(text).toContain('umbra_requests_total{route="blob",method="other",status="200"} 100\n');
    expect(text.match(/^umbra_answers_total/gm)).toHaveLength(5);
  });
});

describe('disks before object stores', () => {
  it('are counted by what became of reads, fills and blobs, and summed where there are two', () => {
    const counted = metrics();
    const [images, cache] = [counted.disk('/var/cache/one'), counted.disk('/var/cache/two')];
    for (const what of ['hit', 'hit', 'miss', 'stored', 'corrupt'] as const) images.count(what);
    cache.count('hit');
    images.used(1000);
    cache.used(20);
    images.used(500);
    const text = counted.exposition.render();
    expect(text).toContain('umbra_disk_cache_reads_total{outcome="hit"} 3\n');
    expect(text).toContain('umbra_disk_cache_reads_total{outcome="passed"} 0\n');
    expect(text).toContain('umbra_disk_cache_fills_total{outcome="stored"} 1\n');
    expect(text).toContain('umbra_disk_cache_dropped_total{reason="corrupt"} 1\n');
    expect(text).toContain('umbra_disk_cache_bytes 520\n');
  });
});

describe('upstreams', () => {
  it('are counted by host, as far as they are configured', () => {
    const { upstream, exposition } = metrics();
    upstream.answered({ host: 'docker.io', kind: 'manifest', status: 200, ms: 5 });
    upstream.answered({ host: 'evil.example', kind: 'manifest', status: 404, ms: 5 });
    upstream.failed({ host: 'docker.io', error: new RegistryError('UPSTREAM_TIMEOUT', 'late') });
    upstream.failed({ host: 'docker.io', error: new Error('what?') });
    const text = exposition.render();
    expect(text).toContain('umbra_upstream_requests_total{host="docker.io",kind="manifest",status="200"} 1\n');
    expect(text).toContain('umbra_upstream_requests_total{host="other",kind="manifest",status="404"} 1\n');
    expect(text).toContain('umbra_upstream_errors_total{host="docker.io",reason="upstream_timeout"} 1\n');
    expect(text).toContain('umbra_upstream_errors_total{host="docker.io",reason="other"} 1\n');
  });

  it('have a rate limit that is shown while it is news', () => {
    const { upstream, exposition } = metrics();
    upstream.rateLimit({ host: 'docker.io', remaining: 42 });
    upstream.rateLimit({ host: 'evil.example', remaining: 1 });
    expect(exposition.render()).toContain('umbra_upstream_ratelimit_remaining{host="docker.io"} 42\n');
    expect(exposition.render()).not.toContain('evil');
    nowMs += 3_600_000;
    expect(exposition.render()).not.toContain('umbra_upstream_ratelimit_remaining{');
  });

  it('fills, by outcome and trouble', () => {
    const counted = metrics();
    counted.fillsRunning.value++;
    counted.fill({ kind: 'resuming' });
    counted.fill({ kind: 'ended', outcome: 'stored' });
    const text = counted.exposition.render();
    expect(text).toContain('umbra_fills_running 1\n');
    expect(text).toContain('umbra_fills_total{outcome="stored"} 1\n');
    expect(text).toContain('umbra_fill_troubles_total{kind="resuming"} 1\n');
  });
});

describe('of several workers', () => {
  it('any of them tells the sum', async () => {
    const workers = members(3, new ManualTimers()).map(({ member }) => ({ member, counted: metrics() }));
    const texts = workers.map(({ member, counted }) => gatherMetrics(member, counted.exposition));
    for (const [index, { counted }] of workers.entries()) for (let i = 0; i <= index; i++) counted.request(request);
    for (const text of texts) {
      const told = await text();
      expect(told).toContain('umbra_requests_total{route="blob",method="GET",status="200"} 6\n');
      expect(told).toContain('umbra_build_info{version="1.2.3"} 3\n');
    }
    const both = await Promise.all([texts[0]?.(), texts[0]?.()]);
    for (const told of both) expect(told).toContain('status="200"} 6\n');
  });

  it('one that died is left out', async () => {
    const timers = new ManualTimers();
    const [a, b] = members(2, timers);
    if (a === undefined || b === undefined) throw new Error('two were asked for');
    const counted = metrics();
    counted.request(request);
    const text = gatherMetrics(a.member, counted.exposition);
    gatherMetrics(b.member, metrics().exposition);
    b.die();
    expect(await text()).toContain('status="200"} 1\n');
  });

  it('a single process tells its own', async () => {
    const counted = metrics();
    counted.request(request);
    expect(await gatherMetrics(soloGroup(new ManualTimers()), counted.exposition)()).toContain('status="200"} 1\n');
  });
});

it('the process tells its memory, time and delays', () => {
  const { exposition } = metrics();
  const stop = measureProcess(exposition, 5_000);
  const text = exposition.render();
  stop();
  expect(Number(/^process_resident_memory_bytes (\d+)$/m.exec(text)?.[1])).toBeGreaterThan(10 * 1024 * 1024);
  expect(Number(/^process_cpu_seconds_total ([\d.]+)$/m.exec(text)?.[1])).toBeGreaterThan(0);
  expect(Number(/^process_open_fds (\d+)$/m.exec(text)?.[1])).toBeGreaterThan(2);
  expect(text).toContain('process_start_time_seconds 5\n');
  expect(text).toContain('umbra_event_loop_delay_seconds{quantile="0.99"}');
});
