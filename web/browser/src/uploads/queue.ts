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
    this.#waiting.push({ id, priority });
    this.#waiting.sort((one, other) => other.priority - one.priority);
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
    // The caller decides, whatever their priority was: they get that of the first.
    const priority = this.#waiting[0]?.priority ?? 0;
    const named = ids.flatMap((id) => this.#waiting.filter((place) => place.id === id));
    const rest = this.#waiting.filter((place) => !ids.includes(place.id));
    this.#waiting = [...named.map(({ id }) => ({ id, priority })), ...rest];
  }

  get waiting(): readonly Place[] {
    return this.#waiting;
  }
}
