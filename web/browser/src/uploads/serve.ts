/** The upload worker behind a port, whatever runs it: a shared or dedicated worker, or the page. */

import { realClock as clock, newId } from '../host/clock.ts';
import { fetchHttp } from '../host/http.ts';
import type { Message, Port, Serve } from '../host/port.ts';
import { authorized } from './api.ts';
import { locks, network, type RelayedNetwork } from './browser.ts';
import { UploadEngine } from './engine.ts';
import { failureOf, invalid } from './errors.ts';
import { scopeOf } from './incoming.ts';
import { Pace, Slots } from './pace.ts';
import { Pages, send } from './pages.ts';
import { xhrPut } from './part.ts';
import type { Channel } from './ports.ts';
import type { UploadSettings, UploadWorkerMessage } from './protocol.ts';
import { UploadService } from './service.ts';
import { settingsOf } from './settings.ts';
import { BrowserStore } from './store.ts';

/** Part requests of all uploads together. HTTP/1.1 has six connections a host anyway. */
const MAX_REQUESTS = 6;

/** The uploads of one endpoint and user, and the pages that see them. */
interface Room {
  pages: Pages;
  engine: UploadEngine;
  opened: Promise<void>;
}

/** One shared worker serves every endpoint and user of the origin. */
export function serveUploads(): Serve {
  const rooms = new Map<string, Room>();
  const relayed = network();
  return (port) => {
    let room: Room | undefined;
    port.onmessage = ({ data }) => {
      switch (data.type ?? data.command) {
        case 'UPLOAD_WORKER_INITIALIZE': {
          const settings = settingsOf(data.settings);
          const scope = scopeOf(settings);
          room = rooms.get(scope) ?? open(settings, relayed);
          rooms.set(scope, room);
          room.pages.add(port);
          if (typeof data.online === 'boolean') relayed.tell(data.online);
          return void greet(port, room);
        }
        case 'NETWORK':
          return relayed.tell(data.online === true);
        case 'TOKEN':
          return room?.pages.answer(data.call, data.token);
        case 'LEAVE':
          return room?.pages.remove(port);
        default:
          return void run(port, room, data);
      }
    };
  };
}

function open(settings: UploadSettings, relayed: RelayedNetwork): Room {
  const pages = new Pages(clock);
  const http = authorized(settings.endpoint, fetchHttp(clock), (why) => pages.token(why));
  const ports = {
    service: new UploadService(http),
    put: xhrPut(clock),
    clock,
    pace: new Pace(clock, settings.bytesPerSec),
    slots: new Slots(MAX_REQUESTS),
    network: relayed,
    store: new BrowserStore(),
    locks,
    channel: new BroadcastChannel(`logferry-uploads:${scopeOf(settings)}`) as Channel,
    newId,
  };
  const engine = new UploadEngine(settings, ports, (message) => pages.tell(message));
  return { pages, engine, opened: engine.open() };
}

/** Ready at once: a database that does not open must not look like a worker that does not answer. */
async function greet(port: Port, room: Room): Promise<void> {
  send(port, { type: 'UPLOAD_WORKER_READY' });
  await room.opened;
  send(port, room.engine.listed);
}

/** Every command is answered, so that no caller waits without end. */
async function run(port: Port, room: Room | undefined, data: Message): Promise<void> {
  const command = data as unknown as UploadWorkerMessage;
  const { request, uploadId } = command;
  try {
    if (!room) throw invalid('the first message must be UPLOAD_WORKER_INITIALIZE');
    await room.opened;
    if (command.type === 'LIST') return send(port, { ...room.engine.listed, request });
    const started = await room.engine.handle(command);
    const id = typeof started === 'string' ? started : uploadId;
    send(port, { type: 'ANSWER', uploadId: id, request });
  } catch (error) {
    const { message, code, retryable, details } = failureOf(error);
    send(port, { type: 'ERROR', error: message, code, retryable, details, uploadId, request });
  }
}
