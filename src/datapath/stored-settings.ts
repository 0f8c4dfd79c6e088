import { settingsLayout, u32Layout } from "./layout.ts";
import { lookupElement, updateElement } from "./libbpf.ts";
import type { StructValueOf } from "./struct.ts";

/** What the map `settings` holds, the datapath's own fields included (`struct settings`). */
type StoredSettings = StructValueOf<typeof settingsLayout>;

/** The one entry of the map `settings`, by the map's descriptor. */
export function openStoredSettings(fd: number) {
  const key = u32Layout.encode({ value: 0 });

  function read(): StoredSettings {
    const bytes = new Uint8Array(settingsLayout.size);
    lookupElement(fd, key, bytes);
    return settingsLayout.read(bytes);
  }

  return {
    read,
    /** Writes some fields; the others stay. */
    change(changes: Partial<StoredSettings>): void {
      updateElement(fd, key, settingsLayout.encode({ ...read(), ...changes }));
    },
  };
}
