/** `transmit` of pino's browser build: `pino({ browser: { transmit: pinoTransmit(logger) } })`. */

import { type Logger, merged } from './logger.ts';
import { LEVELS } from './types.ts';

/** An event as pino hands it over. */
interface LogEvent {
  messages: unknown[];
  bindings: Record<string, unknown>[];
  level: { value: number };
}

export function pinoTransmit(logger: Logger): { send(level: string, event: LogEvent): void } {
  return {
    send(_level, { messages, bindings, level }) {
      const at = Math.min(LEVELS.length - 1, Math.max(0, Math.floor(level.value / 10) - 2));
      const method = (['debug', 'info', 'warn', 'error'] as const)[at] ?? 'info';
      const [first, ...rest] = messages;
      const isContext = typeof first === 'object' && first !== null && !(first instanceof Error);
      const context = merged(...bindings, isContext ? first : undefined);
      const said = isContext ? rest : messages;
      // Made by the logger, which never throws.
      logger[method](said.length === 1 ? said[0] : () => said.map(String).join(' '), context);
    },
  };
}
