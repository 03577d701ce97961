/** Why a flush failed. The lines are still here and go later, unless `code` is `REFUSED`. */
export class LogferryError extends Error {
  override name = 'LogferryError';
  readonly code: string;
  readonly retryInMs: number;

  constructor(message: string, code: string, retryInMs = 0) {
    super(message);
    this.code = code;
    this.retryInMs = retryInMs;
  }
}

export const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
