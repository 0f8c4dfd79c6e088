import {
  deleteGuestMetadata,
  fetchGuestMetadata,
  patchGuestMetadata,
  putGuestMetadata,
} from "../api/client.ts";
import { askAgent, type WhichAgent } from "./agent-socket.ts";
import { EXIT } from "./exit-codes.ts";
import { readInputFile } from "./input-file.ts";

type Options = WhichAgent & { file: string };

/** The commands `onlink metadata get`, `set`, `patch` and `remove`, each for one key; `file` goes with `set` and `patch`. */
export const metadataCommands = {
  async get(key: string, options: Options): Promise<number> {
    const document = await askAgent("metadata get", options, (socket) => fetchGuestMetadata(socket, key));
    return print(JSON.stringify(document, null, 2));
  },
  async set(key: string, options: Options): Promise<number> {
    const document = readInputFile(options.file);
    await askAgent("metadata set", options, (socket) => putGuestMetadata(socket, key, document));
    return print(`set for ${key}`);
  },
  async patch(key: string, options: Options): Promise<number> {
    const patch = readInputFile(options.file);
    await askAgent("metadata patch", options, (socket) => patchGuestMetadata(socket, key, patch));
    return print(`changed for ${key}`);
  },
  async remove(key: string, options: Options): Promise<number> {
    await askAgent("metadata remove", options, (socket) => deleteGuestMetadata(socket, key));
    return print(`nothing is set for ${key} any more; files and configuration count`);
  },
};

function print(text: string): number {
  process.stdout.write(`${text}\n`);
  return EXIT.ok;
}
