import { fileURLToPath } from "node:url";

/** The compiled datapath. It lies in `dist/`, whether this file runs from there or, in tests, from `src/`. */
export const OBJECT_FILE = fileURLToPath(new URL("../../dist/onlink.bpf.o", import.meta.url));
