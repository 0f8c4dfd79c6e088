/** Which interfaces are there: on Linux told by the kernel, elsewhere looked for. */
import { networkInterfaces } from "node:os";

// Its system calls are Linux's alone.
const rtnetlink = process.platform === "linux" ? await import("../linux/rtnetlink.ts") : undefined;

/** An interface that is there and can be captured on. */
export interface PresentLink {
  name: string;
  /** Another one when the interface was made anew. */
  id: number | string;
  /** Its own MAC; undefined where the system does not tell it. */
  mac: string | undefined;
}

/** The interfaces of the system. */
export interface Links {
  /** Those that are there and up, and carry Ethernet. */
  present(): PresentLink[];
  close(): Promise<void>;
}

const ARPHRD_ETHER = 1;
/** How often they are looked for where the system does not tell, in ms. */
const INTERVAL = 1000;

/** Follows the interfaces; `onChange` is called when `present` may have become another. `names`: those of interest where none can be listed. */
export function followLinks(
  names: readonly string[],
  onChange: () => void,
  onError: (error: Error) => void,
): Links {
  return rtnetlink === undefined ? lookForLinks(names, onChange) : watchLinks(rtnetlink, onChange, onError);
}

function watchLinks(
  { openRtnetlink, watchNetwork }: NonNullable<typeof rtnetlink>,
  onChange: () => void,
  onError: (error: Error) => void,
): Links {
  const network = openRtnetlink();
  const watch = watchNetwork((events) => {
    if (events.some(({ kind }) => kind !== "routes-changed")) onChange();
  }, onError);
  return {
    present: () =>
      network
        .links()
        .filter(({ up, hardware }) => up && hardware === ARPHRD_ETHER)
        .map(({ name, ifindex, mac }) => ({ name, id: ifindex, mac })),
    async close() {
      await watch.close();
      network.close();
    },
  };
}

/** Every name counts as there: libpcap says better than we could whether it is. */
function lookForLinks(names: readonly string[], onChange: () => void): Links {
  const timer = setInterval(onChange, INTERVAL);
  return {
    present: () =>
      names.map((name) => ({ name, id: name, mac: networkInterfaces()[name]?.[0]?.mac.toLowerCase() })),
    async close() {
      clearInterval(timer);
    },
  };
}
