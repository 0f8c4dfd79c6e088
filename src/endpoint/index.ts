/**
 * The guest's side as a library, `onlink/endpoint`: a guest's own tables in, which way it sends a packet and why, out. Runs
 * anywhere that JavaScript does; it opens, runs and sends nothing.
 */
export {
  type ClasslessRoute,
  type DecodedRoutes,
  decodeClasslessRoutes,
  encodeClasslessRoutes,
} from "./classless-routes.ts";
export { type Decision, decide, nameOf, type Rule } from "./decide.ts";
export { parseTables } from "./detect.ts";
export { DEFAULT_DESTINATION, type Explained, type Explanation, explain } from "./explain.ts";
export type { Mend } from "./mend.ts";
export type {
  Format,
  InterfaceAddress,
  InterfaceRef,
  Neighbour,
  NeighbourState,
  NotUnderstood,
  Route,
  System,
  Tables,
} from "./types.ts";
export {
  formatWorkaround,
  WORKAROUND_TARGETS,
  type WorkaroundPart,
  type WorkaroundRequest,
  type WorkaroundTarget,
  workaround,
} from "./workaround.ts";
