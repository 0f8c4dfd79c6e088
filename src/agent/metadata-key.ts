import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { TOKEN_KEY_BYTES } from "../metadata/tokens.ts";
import { AgentError } from "./errors.ts";
import { readFileIfThere, writeFileAtomically } from "./files.ts";

/** Where the key is kept that tokens are made with, in hex. */
export function metadataKeyFile(stateDir: string): string {
  return join(stateDir, "metadata.key");
}

/** The key that tokens are made with: the one of earlier runs, else a new one. Throws `AgentError` where the file is damaged. */
export function loadMetadataKey(stateDir: string): Buffer {
  const file = metadataKeyFile(stateDir);
  const text = readFileIfThere(file);
  if (text !== undefined) {
    const key = Buffer.from(text, "hex");
    if (key.length === TOKEN_KEY_BYTES) return key;
    throw new AgentError(`${file} is damaged; delete it: guests then have to ask for new tokens`);
  }
  const key = randomBytes(TOKEN_KEY_BYTES);
  writeFileAtomically(file, `${key.toString("hex")}\n`);
  return key;
}
