// A component that is drawn again only when one of its properties has changed.

import { Component, type ComponentChild, type FunctionComponent, h } from 'preact';

export function memo<P extends object>(inner: FunctionComponent<P>): FunctionComponent<P> {
  class Memo extends Component<P> {
    override shouldComponentUpdate(next: Readonly<P>): boolean {
      const before = this.props as Record<string, unknown>;
      const after = next as Record<string, unknown>;
      return Object.keys({ ...before, ...after }).some((name) => before[name] !== after[name]);
    }
    override render(props: Readonly<P>): ComponentChild {
      return h(inner, props as never);
    }
  }
  return Memo as unknown as FunctionComponent<P>;
}
