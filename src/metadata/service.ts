import type { Logger } from "pino";
import type { SocketAddress } from "../linux/socket-calls.ts";
import type { TcpConnection, TcpEvents } from "../linux/tcp.ts";
import { askedBy } from "./asked.ts";
import { auditLine } from "./audit.ts";
import { createDeadlines, type Timed } from "./deadlines.ts";
import { type GuestTimeouts, serveGuest } from "./guest-connection.ts";
import {
  admit,
  charge,
  type GuestUse,
  isInDebt,
  isSameGuest,
  newGuestUse,
  statsOf,
  toGiveWay,
  type UsedConnection,
} from "./guest-use.ts";
import { type HttpError, httpError } from "./http-syntax.ts";
import { identityLines } from "./identity.ts";
import { createListener } from "./listener.ts";
import { errorResponse } from "./local-response.ts";
import { type ExchangeOptions, startExchange } from "./proxy.ts";
import type { MetadataSettings, ProxySettings } from "./settings.ts";
import { createCounters, type GuestStats, type MetadataStats, type Refusal } from "./stats.ts";
import { passTokenGate, type TokenKey } from "./tokens.ts";
import type { GuestIdentity, MetadataRequest, MetadataResponse } from "./types.ts";
import { createUpstream, type Upstream, type UpstreamStatus } from "./upstream.ts";
import { inTurn } from "./upstreams.ts";

/** The metadata service: listens for guests and answers them, by itself or through upstreams. */
export interface MetadataService {
  /** Listens there from now on, and nowhere else; undefined: nowhere. Where it cannot, it logs why and tries again. */
  listen(at: SocketAddress | undefined): void;
  /** Takes new settings. What an upstream has been sent ends as it began, what still waits for one goes by the new settings. */
  configure(settings: MetadataSettings): void;
  stats(): MetadataStats;
  /** Stops listening and cuts all connections. */
  close(): void;
}

/** What `createMetadataService` needs. */
export interface MetadataServiceOptions {
  settings: MetadataSettings;
  /** Who is behind a metadata address, and the same object until that changes; undefined when nobody is. */
  guestOf(metadataAddress: string): GuestIdentity | undefined;
  /** Answers in mode builtin. */
  builtin(request: MetadataRequest, guest: GuestIdentity): MetadataResponse;
  /** With which tokens are made. */
  tokenKey: TokenKey;
  log: Logger;
  /** Other times than `GUEST_TIMEOUTS`, for tests. */
  guestTimeouts?: GuestTimeouts;
}

/** How long a guest may take, in ms. */
export const GUEST_TIMEOUTS: GuestTimeouts = { head: 10_000, idle: 60_000, stalled: 30_000 };

/** A guest's refusals are logged once in so many ms. */
const LOG_EVERY = 60_000;
/** Whether the guest of a connection is still there is looked at once in so many ms, besides at each request. */
const LOOK_EVERY = 500;

const GONE = httpError("the guest of this connection is gone", 404);

const NO_INSTANCE = httpError("no instance is known for this interface", 404);
/** For what was to be sent on, and had not been when there was nowhere to send it any more. */
const NO_UPSTREAMS = httpError("the settings of the metadata service have changed", 503);

/** For a connection that is refused. */
const NO_EVENTS: TcpEvents = { data() {}, drained() {}, ended() {}, closed() {} };

interface Accepted extends UsedConnection {
  connection: TcpConnection;
}

/** What follows from the settings: made anew with them. */
interface Way {
  settings: MetadataSettings;
  upstreams: Upstream[];
  /** Lines that tell upstreams who a guest is. */
  identities: WeakMap<GuestIdentity, { lines: string | undefined }>;
}

/** See `MetadataService`. It listens nowhere at first. */
export function createMetadataService(options: MetadataServiceOptions): MetadataService {
  const { guestOf, builtin, tokenKey, log, guestTimeouts = GUEST_TIMEOUTS } = options;
  const deadlines = createDeadlines();
  const counters = createCounters();
  const uses = new Map<string, GuestUse>();
  const connections = new Set<Accepted>();
  let way = makeWay(options.settings);
  let turn = 0;

  const listener = createListener(accept, log);

  function makeWay(settings: MetadataSettings): Way {
    const { proxy } = settings;
    const upstreams =
      proxy === undefined ? [] : proxy.upstreams.map((address) => makeUpstream(address, proxy));
    return { settings, upstreams, identities: new WeakMap() };
  }
  function makeUpstream(address: ProxySettings["upstreams"][number], proxy: ProxySettings): Upstream {
    const { timeouts, connections: maxConnections } = proxy;
    return createUpstream({
      address,
      connectTimeout: timeouts.connect,
      maxConnections,
      deadlines,
      onChange: logUpstream,
    });
  }
  function logUpstream({ upstream, state, reason }: UpstreamStatus): void {
    if (state === "up") log.info({ upstream }, "metadata upstream can be reached again");
    else log.warn({ upstream, reason }, "metadata upstream cannot be reached");
  }

  function useOf(guest: GuestIdentity): GuestUse {
    let use = uses.get(guest.metadataAddress);
    // The next guest at an address begins anew.
    if (use === undefined || !isSameGuest(use.guest, guest)) {
      use = newGuestUse(guest, way.settings.limits.requestsPerSecond);
      uses.set(guest.metadataAddress, use);
    }
    return use;
  }

  /** The guest that uses this, as it is now; undefined when it is gone, also when another one has its metadata address. */
  function guestNow({ guest }: GuestUse): GuestIdentity | undefined {
    const now = guestOf(guest.metadataAddress);
    return isSameGuest(guest, now) ? now : undefined;
  }

  /** Cuts a connection soon after its guest is gone: no answer may go on to the next guest at the address. Returns how to stop. */
  function watch(connection: TcpConnection, use: GuestUse): () => void {
    const watched: Timed = {
      deadline: deadlines.after(LOOK_EVERY),
      expire() {
        watched.deadline = deadlines.after(LOOK_EVERY);
        if (guestNow(use) === undefined) connection.abort();
      },
    };
    deadlines.add(watched);
    return () => deadlines.remove(watched);
  }

  /** Closes a connection for the sake of a new one. False when nobody has to give way. */
  function makeRoom(newcomer: GuestUse): boolean {
    const accepted = toGiveWay(connections, newcomer);
    if (accepted === undefined) return false;
    logRefusal(accepted.use, "tooManyConnections");
    accepted.connection.destroy();
    return true;
  }

  function accept(connection: TcpConnection, address: string): TcpEvents {
    const { limits } = way.settings;
    const guest = guestOf(address);
    if (guest === undefined) {
      counters.refused("notAGuest");
      connection.abort();
      return NO_EVENTS;
    }
    const use = useOf(guest);
    if (isInDebt(use, limits, performance.now())) {
      logRefusal(use, "tooManyRequests");
      connection.abort();
      return NO_EVENTS;
    }
    let isTooMany = use.connections >= limits.connectionsPerGuest;
    // Two give way for one, until there are no more than a limit that was lowered allows.
    for (let count = 0; count < 2 && connections.size >= limits.connections; count++) {
      isTooMany ||= !makeRoom(use);
    }
    if (isTooMany) {
      logRefusal(use, "tooManyConnections");
      connection.abort();
      return NO_EVENTS;
    }
    use.connections += 1;
    let isInFlight = false;
    let isToBeAudited = false;
    let hasAsked = false;
    const stopWatching = watch(connection, use);
    const reroute = () => {
      const guest = guestNow(use);
      return guest === undefined ? GONE : route(guest, use, performance.now());
    };
    const events = serveGuest(connection, {
      deadlines,
      timeouts: guestTimeouts,
      maxBody: () => way.settings.limits.bodyBytes,
      handle(head, side, now) {
        hasAsked = true;
        const guest = guestNow(use);
        if (guest === undefined) {
          counters.refused("notAGuest");
          return errorResponse(GONE);
        }
        if (!admit(use, way.settings.limits, now)) return tooManyRequests(use);
        // Not for what is turned away: a guest could fill the log with it.
        const asked = askedBy(head);
        isToBeAudited = asked.isAudited;
        const next = decide(asked.request, guest, use, now);
        if ("status" in next) return next;
        isInFlight = true;
        use.inFlight += 1;
        return startExchange(head, side, next, reroute);
      },
      answered(head, status, ms, now) {
        if (isInFlight) use.inFlight -= 1;
        isInFlight = false;
        counters.answered(status, ms);
        note(use, status, now);
        if (isToBeAudited) log.info(auditLine(use.guest, head, status), "metadata audit");
        isToBeAudited = false;
      },
      refused({ status }) {
        hasAsked = true;
        charge(use, way.settings.limits, performance.now());
        counters.refused("malformed");
        counters.answered(status, 0);
        note(use, status, performance.now());
      },
      closed() {
        if (!hasAsked) charge(use, way.settings.limits, performance.now());
        use.connections -= 1;
        stopWatching();
        connections.delete(accepted);
      },
    });
    const accepted = { connection, use, idleSince: events.idleSince };
    connections.add(accepted);
    return events;
  }

  function note(use: GuestUse, status: number, now: number): void {
    use.requests += 1;
    use.answers.set(status, (use.answers.get(status) ?? 0) + 1);
    use.last = { status, at: now };
  }

  function tooManyRequests(use: GuestUse): MetadataResponse {
    logRefusal(use, "tooManyRequests");
    const { requestsPerSecond } = way.settings.limits;
    return errorResponse(httpError(`more than ${requestsPerSecond} requests a second`, 429));
  }

  /** The answer to a request, or how it is to be sent on. */
  function decide(
    request: MetadataRequest,
    guest: GuestIdentity,
    use: GuestUse,
    now: number,
  ): MetadataResponse | ExchangeOptions {
    const { limits, proxy, requireToken } = way.settings;
    const refusal = passTokenGate({ key: tokenKey, requireToken }, request, guest, Date.now);
    if (refusal !== undefined) return refusal;
    if (proxy === undefined) return builtin(request, guest);
    if (use.inFlight >= limits.requestsInFlight) {
      logRefusal(use, "tooManyInFlight");
      return errorResponse(httpError(`more than ${limits.requestsInFlight} requests at once`, 429));
    }
    const next = route(guest, use, now);
    return "status" in next ? errorResponse(next) : next;
  }

  /** How the guest's requests are to be sent on. */
  function route(guest: GuestIdentity, use: GuestUse, now: number): ExchangeOptions | HttpError {
    const {
      settings: { proxy },
      upstreams,
      identities,
    } = way;
    if (proxy === undefined) return NO_UPSTREAMS;
    let identity = identities.get(guest);
    if (identity === undefined) {
      identity = { lines: identityLines(guest, proxy.secret) };
      identities.set(guest, identity);
    }
    if (identity.lines === undefined) {
      logRefusal(use, "noInstance");
      return NO_INSTANCE;
    }
    turn = (turn + 1) % 0x10000;
    return {
      upstreams: inTurn(upstreams, turn, now),
      identity: identity.lines,
      timeouts: proxy.timeouts,
      borrower: use,
    };
  }

  function logRefusal(use: GuestUse, reason: Refusal): void {
    counters.refused(reason);
    const now = performance.now();
    if (now - use.logged < LOG_EVERY) return;
    use.logged = now;
    log.warn(
      { interface: use.guest.interface, instanceId: use.guest.instanceId, reason },
      "metadata request refused",
    );
  }

  function guestStats(): GuestStats[] {
    const guests: GuestStats[] = [];
    const started = Date.now() - performance.now();
    for (const [metadataAddress, use] of uses) {
      const guest = guestNow(use);
      if (guest === undefined) {
        if (use.connections === 0) uses.delete(metadataAddress);
        continue;
      }
      guests.push(statsOf(use, guest, started));
    }
    return guests;
  }

  return {
    listen: listener.listen,
    configure(settings) {
      const former = way.upstreams;
      way = makeWay(settings);
      for (const upstream of former) upstream.close();
    },
    stats() {
      const listening = listener.state();
      return {
        mode: way.settings.mode,
        ...(listening && { listening }),
        connections: connections.size,
        ...counters.read(),
        guests: guestStats(),
        upstreams: way.upstreams.map((upstream) => upstream.status()),
      };
    },
    close() {
      listener.listen(undefined);
      for (const { connection } of connections) connection.abort();
      for (const upstream of way.upstreams) upstream.close();
      deadlines.close();
    },
  };
}
