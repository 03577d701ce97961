/** Why a flush failed. The lines are still here and go later, unless `code` is `REFUSED`. */
export class LogferryError extends Error {
  override name = 'LogferryError';
  declare readonly code: string;
  declare readonly retryInMs: number;

  constructor(message: string, code: string, retryInMs = 0) {
    super(message);
    this.code = code;
    this.retryInMs = retryInMs;
  }
}

/** What was thrown, as a text, whatever it is. */
export function reasonOf(error: unknown): string {
  try {
    return String(error instanceof Error ? error.message : error);
  } catch {
    return 'unknown';
  }
}
