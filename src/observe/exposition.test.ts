import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Exposition, type MetricSnapshot, type Sample } from './exposition.ts';

interface Example {
  readonly exposition: Exposition;
  readonly count: (method: string, times?: number) => void;
  readonly observe: (seconds: number) => void;
  readonly depth: Sample;
  readonly oldest: Sample;
}

function example(): Example {
  const exposition = new Exposition();
  const requests = exposition.counter('requests_total', 'Requests.', ['method', 'path']);
  const seconds = exposition.histogram('seconds', 'Time.', ['route'], [0.1, 1]);
  return {
    exposition,
    count: (method, times = 1) => void (requests.with({ method, path: '/' }).value += times),
    observe: (value) => seconds.with({ route: 'a' }).observe(value),
    depth: exposition.gauge('depth', 'Depth.', [], 'max').with({}),
    oldest: exposition.gauge('oldest', 'Oldest.', [], 'min').with({}),
  };
}

/** As it arrives from another process. */
function sent(exposition: Exposition): readonly MetricSnapshot[] {
  return JSON.parse(JSON.stringify(exposition.snapshot())) as readonly MetricSnapshot[];
}

describe('the text (exposition format 0.0.4)', () => {
  it('has counters, gauges and cumulative buckets', () => {
    const { exposition, count, observe, depth, oldest } = example();
    count('GET', 2);
    count('PUT');
    for (const value of [0.05, 0.1, 0.5, 7]) observe(value);
    depth.value = 1.5;
    oldest.value = 3;
    expect(exposition.render()).toBe(`# HELP requests_total Requests.
# TYPE requests_total counter
requests_total{method="GET",path="/"} 2
requests_total{method="PUT",path="/"} 1
# HELP seconds Time.
# TYPE seconds histogram
seconds_bucket{route="a",le="0.1"} 2
seconds_bucket{route="a",le="1"} 3
seconds_bucket{route="a",le="+Inf"} 4
seconds_sum{route="a"} 7.65
seconds_count{route="a"} 4
# HELP depth Depth.
# TYPE depth gauge
depth 1.5
# HELP oldest Oldest.
# TYPE oldest gauge
oldest 3
`);
  });

  it('escapes what would end a label or a line', () => {
    const exposition = new Exposition();
    exposition.counter('a', 'one\ntwo \\', ['x']).with({ x: 'a"b\\c\nd' }).value = 1;
    expect(exposition.render()).toBe('# HELP a one\\ntwo \\\\\n# TYPE a counter\na{x="a\\"b\\\\c\\nd"} 1\n');
  });

  it('reads gauges when it is asked for', () => {
    const exposition = new Exposition();
    const gauge = exposition.gauge('a', 'A.', ['x']);
    let looks = 0;
    exposition.onCollect(() => {
      gauge.clear();
      gauge.with({ x: String(++looks) }).value = looks;
    });
    expect(exposition.render()).toContain('a{x="1"} 1');
    expect(exposition.render()).not.toContain('x="1"');
  });
});

it('several processes together say what one would that had counted everything', () => {
  const event = fc.oneof(
    fc.record({ method: fc.constantFrom('GET', 'PUT', 'HEAD') }),
    fc.record({ seconds: fc.constantFrom(0.0625, 0.5, 2) }),
  );
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(2), event), { maxLength: 40 }), (events) => {
      const one = example();
      const several = [example(), example(), example()] as const;
      for (const [process, what] of events) {
        for (const counting of [one, several[process as 0 | 1 | 2]]) {
          if ('method' in what) counting.count(what.method);
          else counting.observe(what.seconds);
        }
      }
      const [asked, ...others] = several;
      const together = asked.exposition.render(others.map(({ exposition }) => sent(exposition)));
      expect(together.split('\n').toSorted()).toEqual(one.exposition.render().split('\n').toSorted());
    }),
  );
});

it('gauges of several processes: the largest, the least, or the sum', () => {
  const [a, b] = [example(), example()];
  Object.assign(a.depth, { value: 3 });
  Object.assign(b.depth, { value: 5 });
  Object.assign(a.oldest, { value: 3 });
  Object.assign(b.oldest, { value: 5 });
  expect(a.exposition.render([sent(b.exposition)])).toMatch(/^depth 5\n[^]*^oldest 3\n/m);
});
