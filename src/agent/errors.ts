/** Something that the agent cannot do, in a sentence for the operator: what is wrong, where, and the mend. */
export class AgentError extends Error {
  override readonly name = "AgentError";
}

/** The text of anything thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
