// Loaded before an agent (node --import): kills it at the step that KILL_AT_STEP tells, or says at its end how many there were, and at which the
// folders of maps changed places. A step is a change that it is about to make to files, among them the pins of the datapath.
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";

const killAt = Number(process.env.KILL_AT_STEP);
const swaps = [];
let steps = 0;
for (const name of ["mkdirSync", "openSync", "renameSync", "rmSync", "rmdirSync", "writeFileSync"]) {
  const original = fs[name];
  fs[name] = (...args) => {
    steps++;
    if (name === "renameSync" && args[0].endsWith("maps")) swaps.push(steps);
    if (steps === killAt) process.kill(process.pid, "SIGKILL");
    return original(...args);
  };
}
syncBuiltinESMExports();
if (!killAt) process.once("exit", () => fs.writeSync(2, `${JSON.stringify({ steps, swaps })}\n`));
