/** Metrics of prom-client whose values are read elsewhere, all at once, when they are asked for. */
import { Counter, Gauge, type Metric, type Registry } from "prom-client";

/** Labels and value. */
export type Sample = readonly [labels: Record<string, string>, value: number | bigint];

/** A histogram that is kept elsewhere: `count` values, `sum` together, of which each bucket has those up to `le`. */
export interface HistogramValues {
  buckets: ReadonlyArray<{ le: number; count: number }>;
  sum: number;
  count: number;
}

/** Makes metrics; what it gives back sets all series of one, and forgets those of before. */
export function metricsOf(registry: Registry) {
  const registers = [registry];
  return {
    gauge(name: string, help: string, labelNames: string[] = []): (samples: readonly Sample[]) => void {
      const metric = new Gauge({ name, help, labelNames, registers });
      return (samples) => {
        metric.reset();
        for (const [labels, value] of samples) metric.set(labels, Number(value));
      };
    },
    /** What it counts is counted elsewhere. */
    counter(name: string, help: string, labelNames: string[] = []): (samples: readonly Sample[]) => void {
      const metric = new Counter({ name, help, labelNames, registers });
      return (samples) => {
        metric.reset();
        for (const [labels, value] of samples) metric.inc(labels, Number(value));
      };
    },
    /** Without labels. */
    histogram(name: string, help: string): (values: HistogramValues) => void {
      let values: HistogramValues = { buckets: [], sum: 0, count: 0 };
      const get = async () => ({
        name,
        help,
        type: "histogram",
        values: [
          ...[...values.buckets, { le: "+Inf", count: values.count }].map(({ le, count }) => ({
            metricName: `${name}_bucket`,
            labels: { le },
            value: count,
          })),
          { metricName: `${name}_sum`, labels: {}, value: values.sum },
          { metricName: `${name}_count`, labels: {}, value: values.count },
        ],
      });
      // prom-client's own histogram takes single values alone; a registry asks no more of a metric than this.
      registry.registerMetric({ name, get } as unknown as Metric);
      return (read) => {
        values = read;
      };
    },
  };
}
