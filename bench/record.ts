import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { formatMeasurement, type Measurement, plotName } from "./report.ts";

/** Where the measurements of a run lie until finish.ts makes pages of them. */
export const FOUND = fileURLToPath(new URL("../.cache/bench", import.meta.url));

/** Prints a measurement and keeps it for the report. */
export function record(measurement: Measurement): void {
  console.log(formatMeasurement(measurement));
  mkdirSync(FOUND, { recursive: true });
  const name = plotName(measurement.part, measurement.work).replace(/svg$/, "json");
  writeFileSync(join(FOUND, name), JSON.stringify(measurement));
}
