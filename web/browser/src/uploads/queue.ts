/** Which upload runs next: the order of the uploads that want to run. */

interface Place {
  id: string;
  priority: number;
}

export class UploadQueue {
  readonly #maxActive: number;
  #waiting: Place[] = [];
  #active = new Set<string>();

  constructor(maxActive: number) {
    this.#maxActive = Math.max(1, maxActive);
  }

  /** After all of the same or a higher priority. */
  add(id: string, priority: number): void {
    // One that has just ended may still count as active.
    this.remove(id);
    const before = this.#waiting.findIndex((place) => place.priority < priority);
    this.#waiting.splice(before < 0 ? this.#waiting.length : before, 0, { id, priority });
  }

  /** From both: what waits and what runs. */
  remove(id: string): void {
    this.#waiting = this.#waiting.filter((place) => place.id !== id);
    this.#active.delete(id);
  }

  /** Takes what may run now. */
  next(): string[] {
    const room = Math.max(0, this.#maxActive - this.#active.size);
    const taken = this.#waiting.splice(0, room).map((place) => place.id);
    for (const id of taken) this.#active.add(id);
    return taken;
  }

  /** Puts the named ones first, in this order; the rest keeps its own. */
  reorder(ids: string[]): void {
    const named = ids.flatMap((id) => this.#waiting.filter((place) => place.id === id));
    const rest = this.#waiting.filter((place) => !ids.includes(place.id));
    // A named upload stands before its new neighbours whatever their priority: the caller decides.
    this.#waiting = [...named, ...rest];
  }

  get waiting(): string[] {
    return this.#waiting.map((place) => place.id);
  }
}
